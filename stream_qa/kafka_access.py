"""Where the brokers are, and how they and we know each other: what every Kafka client of ours is made with."""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from stream_qa.errors import SettingsError

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class _Encrypted(ssl.SSLObject):
    """One side of a connection that says goodbye and does not wait for the other side to say it too.

    asyncio waits for it for 30 seconds: a program could not end in time beside a broker that hangs. TLS does not ask
    for that (RFC 8446, section 6.1), and Kafka's protocol says itself where an answer ends.
    """

    def unwrap(self) -> None:
        # Our goodbye is written before the other's is missed.
        with suppress(ssl.SSLWantReadError):
            super().unwrap()


@dataclass(frozen=True)
class KafkaAccess:
    """The addresses of brokers, and what makes a connection to them a trusted one.

    Files are read whenever a client is made: what was mounted anew counts from the next connection of a new client.

    Parameters
    ----------
    addresses
        Of some brokers, ``host:port``; they name the others.
    protocol
        Whether connections are encrypted, and whether this program says who it is.
    mechanism
        How it does.
    username
        Who it is.
    password, password_file
        One of them proves it; white space at the end of the file is not part of it.
    ca
        PEM file of the authorities that are believed who a broker is, instead of the system's.
    certificate, key
        PEM files that prove to the broker who this program is, by TLS itself.
    check_hostname
        Whether the broker's certificate must be one of the address that was asked for.

    Raises
    ------
    SettingsError
        What is given does not fit together.
    """

    addresses: tuple[str, ...]
    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    check_hostname: bool = True

    def __post_init__(self) -> None:
        """Check that what is given fits together: what would be ignored was meant to protect something."""
        if self.has_sasl:
            self._check_sasl()
        elif self.username or self.password or self.password_file:
            raise SettingsError(
                f"a SASL user name or password is of no use with STREAM_QA_SECURITY_PROTOCOL={self.protocol}: "
                "set it to SASL_SSL"
            )
        if not self.has_tls and (self.ca or self.certificate or self.key):
            raise SettingsError(
                f"TLS files are of no use with STREAM_QA_SECURITY_PROTOCOL={self.protocol}: set it to SSL or SASL_SSL"
            )
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("STREAM_QA_TLS_CERTIFICATE and STREAM_QA_TLS_KEY belong together: give both or neither")

    @property
    def has_sasl(self) -> bool:
        """Whether this program says who it is by a name and a password."""
        return self.protocol.startswith("SASL")

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.protocol.endswith("SSL")

    def options(self) -> dict[str, Any]:
        """Return the arguments that every client of aiokafka takes.

        Raises
        ------
        SettingsError
            A file cannot be read, or is not what it must be.
        """
        return {"bootstrap_servers": list(self.addresses), **self.connection_options()}

    def connection_options(self) -> dict[str, Any]:
        """Return those of a single connection, which is given its address by itself.

        Raises
        ------
        SettingsError
            A file cannot be read, or is not what it must be.
        """
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.has_tls:
            options["ssl_context"] = self.tls_context()
        if self.has_sasl:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.read_password(),
            }
        return options

    def read_password(self) -> str:
        """Return the password, from its file where it has one.

        Raises
        ------
        SettingsError
            The file cannot be read, or is empty.
        """
        if self.password_file is None:
            return "" if self.password is None else self.password.get_secret_value()
        try:
            password = self.password_file.read_text().rstrip()
        except (OSError, UnicodeError) as error:
            raise SettingsError(f"STREAM_QA_SASL_PASSWORD_FILE cannot be read: {error}") from None
        if not password:
            raise SettingsError(f"STREAM_QA_SASL_PASSWORD_FILE, {self.password_file}, is empty")
        return password

    def tls_context(self) -> ssl.SSLContext:
        """Return whom to believe, and what to show.

        Raises
        ------
        SettingsError
            A file cannot be read, or is not what it must be.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise SettingsError(f"STREAM_QA_TLS_CA, {self.ca}, cannot be used: {error}") from None
        context.sslobject_class = _Encrypted
        context.check_hostname = self.check_hostname
        if self.certificate is not None and self.key is not None:
            try:
                # An encrypted key would be asked for at the terminal; an empty password is a wrong one.
                context.load_cert_chain(self.certificate, self.key, password="")
            except OSError as error:
                raise SettingsError(
                    f"STREAM_QA_TLS_CERTIFICATE, {self.certificate}, and STREAM_QA_TLS_KEY, {self.key}, cannot be used "
                    f"(PEM files, and the key without a password): {error}"
                ) from None
        return context

    def _check_sasl(self) -> None:
        if self.username is None or (self.password is None) == (self.password_file is None):
            raise SettingsError(
                f"STREAM_QA_SECURITY_PROTOCOL={self.protocol} needs STREAM_QA_SASL_USERNAME and one of "
                "STREAM_QA_SASL_PASSWORD and STREAM_QA_SASL_PASSWORD_FILE"
            )
        if self.protocol == "SASL_PLAINTEXT" and self.mechanism == "PLAIN":
            raise SettingsError(
                "STREAM_QA_SASL_MECHANISM=PLAIN sends the password as it is: set STREAM_QA_SECURITY_PROTOCOL=SASL_SSL"
            )
