"""Access to Kafka: what fits together, what clients are given, and what is never shown."""

import ast
import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from aiokafka import codec
from secure_broker import PASSWORD, certificate
from typer.testing import CliRunner

from stream_qa.cli import application
from stream_qa.errors import SettingsError
from stream_qa.kafka_access import KafkaAccess
from stream_qa.settings import PREFIX, Settings, load_settings, without_password

SASL = {
    "STREAM_QA_SECURITY_PROTOCOL": "SASL_SSL",
    "STREAM_QA_SASL_USERNAME": "worker",
    "STREAM_QA_SASL_PASSWORD": PASSWORD,
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """Give a file with a certificate and its key."""
    return certificate(trustme.CA(), tmp_path / "client.pem", "worker")


def access(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> KafkaAccess:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings().kafka


@pytest.mark.parametrize("has_codec", [codec.has_gzip, codec.has_snappy, codec.has_lz4, codec.has_zstd])
def test_the_client_has_every_codec_that_a_producer_may_use(has_codec: Callable[[], bool]) -> None:
    assert has_codec()


def test_without_settings_connections_are_plain() -> None:
    assert load_settings().kafka.options() == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "security_protocol": "PLAINTEXT",
    }


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"STREAM_QA_SECURITY_PROTOCOL": "SASL_SSL"},
            "needs STREAM_QA_SASL_USERNAME and one of STREAM_QA_SASL_PASSWORD and STREAM_QA_SASL_PASSWORD_FILE",
        ),
        ({**SASL, "STREAM_QA_SASL_PASSWORD_FILE": "/run/secrets/kafka"}, "one of STREAM_QA_SASL_PASSWORD and"),
        ({"STREAM_QA_SASL_USERNAME": "worker"}, "of no use with STREAM_QA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({**SASL, "STREAM_QA_SECURITY_PROTOCOL": "SSL"}, "of no use with STREAM_QA_SECURITY_PROTOCOL=SSL"),
        ({"STREAM_QA_TLS_CA": "ca.pem"}, "TLS files are of no use with STREAM_QA_SECURITY_PROTOCOL=PLAINTEXT"),
        (
            {**SASL, "STREAM_QA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "STREAM_QA_SASL_MECHANISM": "PLAIN"},
            "sends the password as it is",
        ),
        (
            {"STREAM_QA_SECURITY_PROTOCOL": "SSL", "STREAM_QA_TLS_CERTIFICATE": "client.pem"},
            "STREAM_QA_TLS_CERTIFICATE and STREAM_QA_TLS_KEY belong together",
        ),
        ({**SASL, "STREAM_QA_SASL_MECHANISM": "GSSAPI"}, "STREAM_QA_SASL_MECHANISM: Input should be 'PLAIN'"),
        ({**SASL, "STREAM_QA_SASL_PASSWORD": ""}, "STREAM_QA_SASL_PASSWORD: "),
    ],
)
def test_what_does_not_fit_together_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        access(monkeypatch, variables)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_a_password_from_a_file_is_read_anew_and_has_no_line_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    variables = {name: value for name, value in SASL.items() if name != "STREAM_QA_SASL_PASSWORD"}
    kafka = access(monkeypatch, {**variables, "STREAM_QA_SASL_PASSWORD_FILE": str(file)})
    with pytest.raises(SettingsError, match="STREAM_QA_SASL_PASSWORD_FILE cannot be read"):
        kafka.options()
    file.write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        kafka.options()
    for password in ("first", "second"):
        file.write_text(f"{password}\n")
        assert kafka.options()["sasl_plain_password"] == password


def test_the_files_of_tls_must_be_what_they_are_said_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Path
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    variables = {
        "STREAM_QA_SECURITY_PROTOCOL": "SSL",
        "STREAM_QA_TLS_CA": str(client),
        "STREAM_QA_TLS_CERTIFICATE": str(client),
        "STREAM_QA_TLS_KEY": str(client),
    }
    assert access(monkeypatch, variables).options()["ssl_context"].check_hostname
    for name in ("STREAM_QA_TLS_CA", "STREAM_QA_TLS_CERTIFICATE", "STREAM_QA_TLS_KEY"):
        for file in (nonsense, tmp_path / "missing.pem"):
            kafka = access(monkeypatch, {**variables, name: str(file)})
            with pytest.raises(SettingsError, match=f"{name}, {file}, .*cannot be used"):
                kafka.options()


def test_the_host_name_is_checked_unless_it_is_said_not_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    context = access(monkeypatch, {**SASL, "STREAM_QA_TLS_HOSTNAME_CHECK": "false"}).options()["ssl_context"]
    assert not context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_secrets_are_in_no_print_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        **SASL,
        "STREAM_QA_SERVE_TOKEN": PASSWORD,
        "STREAM_QA_SERVE_STORE": f"redis://user:{PASSWORD}@redis:6379/0",
    }
    kafka = access(monkeypatch, secrets)
    shown = CliRunner().invoke(application, ["config", "show"], env={"COLUMNS": "1000"}).stdout
    as_json = CliRunner().invoke(application, ["config", "show", "--json"]).stdout
    assert "redis://**********@redis:6379/0" in shown
    for text in (repr(kafka), str(kafka), shown, as_json, without_password(secrets["STREAM_QA_SERVE_STORE"])):
        assert text
        assert PASSWORD not in text
    # Faust and dataclasses quote their arguments; what clients are made with has the password itself.
    assert kafka.options()["sasl_plain_password"] == PASSWORD


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("redis://user:p@ss@redis:6379/0", "redis://**********@redis:6379/0"),
        ("redis://user:p@s/s?@redis:6379/0", "redis://**********@redis:6379/0"),
        ("redis://redis:6379/0?password=p@ss&db=1", "redis://redis:6379/0?password=**********&db=1"),
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        ("coefficients/a@b", "coefficients/a@b"),
    ],
)
def test_no_part_of_a_password_is_shown_with_its_location(location: str, shown: str) -> None:
    assert without_password(location) == shown


def test_every_client_is_made_with_the_options_of_the_access() -> None:
    makers = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "AIOKafkaClient", "Member", "create_conn"}
    # The development broker asks itself, at its plain listener.
    of_its_own = {"stream_qa/broker/readiness.py"}
    repository = Path(__file__).parents[1]
    found = 0
    for path in (repository / "stream_qa").rglob("*.py"):
        name = str(path.relative_to(repository))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers:
                found += 1
                given = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg is None]
                assert name in of_its_own or any("options" in each for each in given), name
    assert found > len(makers)


async def test_a_broker_that_hangs_is_told_goodbye_and_not_waited_for(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    of_broker = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    of_broker.load_cert_chain(certificate(authority, tmp_path / "broker.pem", "127.0.0.1"))
    access = KafkaAccess(("127.0.0.1:9092",), "SSL", ca=tmp_path / "ca.pem")

    def greet() -> ssl.SSLSocket:
        """Accept a connection, and do nothing more."""
        return of_broker.wrap_socket(listening.accept()[0], server_side=True, suppress_ragged_eofs=False)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        greeting = asyncio.create_task(asyncio.to_thread(greet))
        # Who waits for the other's goodbye gives up after this time, with an error.
        _, writer = await asyncio.open_connection(
            *listening.getsockname(), ssl=access.tls_context(), ssl_shutdown_timeout=5.0
        )
        with await greeting as hanging:
            writer.write(b"the last request")
            writer.close()
            await writer.wait_closed()
            assert hanging.recv(100) == b"the last request"
            assert hanging.recv(100) == b"", "an end that is not a goodbye would be an error"
