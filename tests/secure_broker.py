"""A real Kafka that believes nobody: TLS, SCRAM, client certificates and access lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from ports import free_port

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.ports import LOOPBACK
from stream_qa.settings import PREFIX, Settings

ADMIN = "admin"
LISTENERS = {"SASL_SSL": "SASL_SSL", "SSL": "SSL", "EXPIRED": "SSL"}
ROLES = ("worker", "producer", "server", "operator")
#: Recognisable, so that a test can look for it where it must not be.
PASSWORD = "correct-horse-battery-staple"  # noqa: S105 # of brokers that live for a test


def certificate(
    authority: trustme.CA, file: Path, *identities: str, name: str | None = None, expired: bool = False
) -> Path:
    """Write a certificate and its key, in the form that Kafka and OpenSSL both read, and return the file."""
    begins = datetime.now(UTC) - timedelta(days=2)
    ends = begins + timedelta(days=1 if expired else 9)
    issued = authority.issue_cert(*identities, common_name=name, not_before=begins, not_after=ends)
    key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    return file


@dataclass
class SecureBroker:
    """The broker, its authority, and the settings of those who may connect."""

    directory: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in LISTENERS})

    def __post_init__(self) -> None:
        self.ca = self.directory / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        stores = {
            name: certificate(self.authority, self.directory / f"{name}.pem", LOOPBACK, expired=name == "expired")
            for name in ("broker", "expired")
        }
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{ADMIN}="{PASSWORD}";'
        self.broker = DevelopmentBroker(
            self.directory / "broker",
            free_port(),
            start_seconds=200,
            listeners={name: (protocol, self.ports[name]) for name, protocol in LISTENERS.items()},
            more_properties={
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(stores["broker"]),
                "listener.name.expired.ssl.keystore.type": "PEM",
                "listener.name.expired.ssl.keystore.location": str(stores["expired"]),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.ca),
                "listener.name.ssl.ssl.client.auth": "required",
                "ssl.principal.mapping.rules": r"RULE:.*CN=([^,]*).*/$1/,DEFAULT",
                "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
                "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
                "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "false",
                # The plain listener, which only the broker itself and the tests know, and one user who may everything.
                "super.users": f"User:ANONYMOUS;User:{ADMIN}",
            },
            users=dict.fromkeys((ADMIN, *ROLES), PASSWORD),
        )

    def by_password(self, user: str = ADMIN, password: str = PASSWORD) -> dict[str, str]:
        """Return the settings of a user who proves it by SCRAM under TLS."""
        return {
            "STREAM_QA_BROKER": f"{LOOPBACK}:{self.ports['SASL_SSL']}",
            "STREAM_QA_SECURITY_PROTOCOL": "SASL_SSL",
            "STREAM_QA_SASL_USERNAME": user,
            "STREAM_QA_SASL_PASSWORD": password,
            "STREAM_QA_TLS_CA": str(self.ca),
        }

    def by_certificate(self, user: str = ADMIN, *, expired: bool = False) -> dict[str, str]:
        """Return the settings of a user who proves it by a certificate."""
        file = self.directory / f"client-{user}{'-expired' if expired else ''}.pem"
        certificate(self.authority, file, user, name=user, expired=expired)
        return {
            "STREAM_QA_BROKER": f"{LOOPBACK}:{self.ports['SSL']}",
            "STREAM_QA_SECURITY_PROTOCOL": "SSL",
            "STREAM_QA_TLS_CA": str(self.ca),
            "STREAM_QA_TLS_CERTIFICATE": str(file),
            "STREAM_QA_TLS_KEY": str(file),
        }


def settings_of(environment: Mapping[str, str]) -> Settings:
    """Return the settings that a program has with these variables."""
    return Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in environment.items()})
