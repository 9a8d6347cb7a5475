"""Everything that connects, over TLS with passwords and with certificates; and what is refused in a sentence."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import orjson
import pytest
from builders import application as applied
from builders import engagement
from ground import PARTITIONS, PROGRAM, Ground, job_in
from ports import free_port
from secure_broker import PASSWORD, SecureBroker, certificate, settings_of
from service_process import END_SECONDS, ready, service
from test_serving import scored
from test_worker import refusal
from typer.testing import CliRunner

from stream_qa.broker.ports import LOOPBACK
from stream_qa.cli import application
from stream_qa.errors import BrokerAccessError, BrokerUnavailableError
from stream_qa.topics import partition_counts

# The first test waits for a broker with TLS to start as well.
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

JOB = job_in(1)


def secure_ground(access: dict[str, str], directory: Path) -> Ground:
    """Give an environment of one's own, and make its topics with the command line."""
    prefix = f"secure-{directory.name}-"
    environment = {**access, "STREAM_QA_TOPIC_PREFIX": prefix, "STREAM_QA_APP_ID": f"{prefix}workers"}
    ground = Ground(settings_of(environment), directory, environment)
    run(ground, "topics", "apply", "--yes", "--partitions", str(PARTITIONS))
    return ground


def run(ground: Ground, *arguments: str) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        [*PROGRAM, *arguments], env=ground.whole_environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give a log with an application, its answer, and a line that is no event."""
    events = [
        {"type": "application", **applied(job_id=JOB).model_dump()},
        {"type": "engagement", **engagement(job_id=JOB).model_dump()},
    ]
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"\n".join([*(orjson.dumps(event) for event in events), b"nonsense"]))
    return file


@pytest.mark.parametrize("proof", ["SCRAM-SHA-512", "SCRAM-SHA-256", "certificate"])
def test_topics_workers_replays_commands_and_the_service_work_encrypted(
    secure_broker: SecureBroker, tmp_path: Path, log: Path, proof: str
) -> None:
    access = secure_broker.by_certificate() if proof == "certificate" else secure_broker.by_password()
    if proof != "certificate":
        access["STREAM_QA_SASL_MECHANISM"] = proof
    ground = secure_ground(access, tmp_path)
    topics = ground.settings.topics
    with ground.worker(), service(ground) as client:
        counts = ground.replay(log, tmp_path / "emitted")
        assert (counts["applications"], counts["engagements"], counts["dead_letters"]) == (1, 1, 1)
        asyncio.run(ground.produce(topics.applications, [(JOB.encode(), b"no json")], 1))
        asyncio.run(ground.read(topics.dead_letters, until=lambda records: len(records) == 2))
        while not (ready(client) and scored(client)["members"]["member-1"]["version"]):
            time.sleep(0.1)
        assert scored(client)["scores"][0]["probability"] > 0.25
        # By transactions of the command's own; the worker keeps the record a second time.
        redriven = json.loads(run(ground, "dead-letters", "redrive", "--stage", "label", "--json"))
        assert len(redriven["sent"]) == 1
        asyncio.run(ground.read(topics.dead_letters, until=lambda records: len(records) == 4))
        letters = json.loads(run(ground, "dead-letters", "list", "--json"))
        assert sorted(each["stage"] for each in letters) == ["label", "label", "replay"]
        assert "member:member-1" in run(ground, "coefficients", "get", "member:member-1")
        run(ground, "coefficients", "snapshot")
        run(ground, "models", "list")
    for file in tmp_path.glob("*.log"):
        assert PASSWORD not in file.read_text()


def test_a_worker_that_logs_all_it_can_does_not_log_its_password(secure_broker: SecureBroker, tmp_path: Path) -> None:
    # By PLAIN the password itself is in a request, and the client library logs requests.
    ground = secure_ground({**secure_broker.by_password(), "STREAM_QA_SASL_MECHANISM": "PLAIN"}, tmp_path)
    program = [sys.executable, "-m", "faust", "-A", "stream_qa.app", "--debug", "worker", "-l", "debug"]
    worker = ground.run("worker", *program)
    try:
        while "Worker ready" not in ground.log_of("worker").read_text():
            assert worker.poll() is None, ground.log_of("worker").read_text()
            time.sleep(0.1)
    finally:
        worker.terminate()
        worker.wait(30)
    said = ground.log_of("worker").read_text()
    assert PASSWORD not in said
    assert re.search(r"\[debug +\]", said)


@pytest.fixture(
    params=["password", "user", "mechanism", "authority", "host name", "expired", "old client", "no client"]
)
def refused(request: pytest.FixtureRequest, secure_broker: SecureBroker) -> tuple[dict[str, str], str]:
    """Give settings that are refused, and a part of the sentence that says so."""
    broker = secure_broker
    by_password, by_certificate = broker.by_password(), broker.by_certificate()
    without_ca = {name: value for name, value in by_password.items() if name != "STREAM_QA_TLS_CA"}
    cases: dict[str, tuple[dict[str, str], str]] = {
        "password": (broker.by_password(password="wrong"), "refuses user admin by SCRAM-SHA-512"),  # noqa: S106
        "user": (broker.by_password("nobody"), "refuses user nobody by SCRAM-SHA-512"),
        "mechanism": (
            {**broker.by_password(password="wrong"), "STREAM_QA_SASL_MECHANISM": "PLAIN"},  # noqa: S106
            "refuses user admin by PLAIN",
        ),
        "authority": (without_ca, "is not trusted: unable to get local issuer certificate"),
        "host name": (
            {**by_password, "STREAM_QA_BROKER": f"localhost:{broker.ports['SASL_SSL']}"},
            "is not trusted: Hostname mismatch",
        ),
        "expired": (
            {**by_certificate, "STREAM_QA_BROKER": f"127.0.0.1:{broker.ports['EXPIRED']}"},
            "is not trusted: certificate has expired",
        ),
        "old client": (broker.by_certificate(expired=True), "refuses TLS: "),
        "no client": (
            {name: value for name, value in by_certificate.items() if not name.endswith(("_CERTIFICATE", "_KEY"))},
            "refuses TLS: tlsv13 alert certificate required",
        ),
    }
    return cases[request.param]


def test_what_broker_and_client_do_not_accept_is_refused_in_a_sentence(
    refused: tuple[dict[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, sentence = refused
    for name, value in Ground(settings_of(access), tmp_path, access).whole_environment.items():
        monkeypatch.setenv(name, value)
    error = CliRunner().invoke(application, ["topics", "plan"]).exception
    assert isinstance(error, BrokerAccessError)
    assert sentence in str(error)
    assert "\n" not in str(error)
    assert PASSWORD not in str(error)


def test_every_program_refuses_to_start_with_a_wrong_password(secure_broker: SecureBroker, tmp_path: Path) -> None:
    access = secure_broker.by_password(password="wrong-password")  # noqa: S106
    ground = Ground(settings_of(access), tmp_path, access)
    sentence = "refuses user admin by SCRAM-SHA-512: check STREAM_QA_SASL_USERNAME and the password"
    for arguments in (["topics", "apply", "--yes"], ["serve"], ["dead-letters", "list"]):
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env={**ground.whole_environment, "STREAM_QA_SERVE_PORT": str(free_port())},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert done.stderr.startswith("BrokerAccessError: ")
        assert sentence in done.stderr
        # The sentence, and what to do about it.
        assert done.stderr.count("\n") == 2
        assert "wrong-password" not in done.stderr
    said = refusal({**access, "STREAM_QA_WEB_PORT": str(free_port())}, tmp_path)
    assert said.startswith("The worker does not start: ")
    assert sentence in said


@pytest.mark.parametrize("other", ["plain to TLS", "TLS to plain"])
async def test_another_protocol_than_the_listener_s_is_said(secure_broker: SecureBroker, other: str) -> None:
    if other == "plain to TLS":
        access = {"STREAM_QA_BROKER": f"127.0.0.1:{secure_broker.ports['SSL']}"}
        protocol = "PLAINTEXT"
    else:
        access = {**secure_broker.by_password(), "STREAM_QA_BROKER": secure_broker.broker.bootstrap}
        protocol = "SASL_SSL"
    with pytest.raises(BrokerUnavailableError, match=f"does its listener speak STREAM_QA_SECURITY_PROTOCOL={protocol}"):
        await partition_counts(settings_of(access).kafka, [])


def test_programs_end_in_time_beside_a_broker_that_hangs(secure_broker: SecureBroker, tmp_path: Path) -> None:
    ground = secure_ground(secure_broker.by_password(), tmp_path)
    hanging = secure_broker.broker.pid
    assert hanging is not None
    try:
        with ground.worker() as worker, service(ground) as client:
            while not ready(client):
                time.sleep(0.1)
            os.kill(hanging, signal.SIGSTOP)
            worker.terminate()
            assert worker.wait(END_SECONDS) == 0
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_a_worker_that_runs_says_that_the_certificate_of_its_broker_has_expired(
    secure_broker: SecureBroker, tmp_path: Path
) -> None:
    ground = secure_ground(secure_broker.by_password(), tmp_path)
    presented = secure_broker.directory / "broker.pem"
    valid, port = presented.read_bytes(), free_port()
    with ground.worker(STREAM_QA_WEB_PORT=str(port)), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        secure_broker.broker.down()
        certificate(secure_broker.authority, presented, LOOPBACK, expired=True)
        try:
            secure_broker.broker.up()
            reason = ""
            while "is not trusted: certificate has expired" not in reason:
                reason = " ".join(client.get("/readyz", timeout=30).json()["reasons"])
                time.sleep(0.2)
        finally:
            presented.write_bytes(valid)
            secure_broker.broker.down()
            secure_broker.broker.up()
        while client.get("/readyz", timeout=30).status_code != 200:
            time.sleep(0.2)
