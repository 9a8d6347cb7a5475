import json
import os
import pty
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stream_qa.cli import application
from stream_qa.errors import BrokerUnavailableError, NotConfirmedError, PartitionCountError
from stream_qa.events import TopicNames

#: How many topics there are.
ALL = len(TopicNames().all())


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> str:
    """Set a prefix that no other test has and, until a test says otherwise, an address where no broker is."""
    prefix = f"t{uuid.uuid4().hex[:12]}-"
    monkeypatch.setenv("STREAM_QA_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("STREAM_QA_BROKER", f"127.0.0.1:{unused_tcp_port}")
    return prefix


@pytest.fixture
def on_broker(broker: str, settings: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the real broker's address, and give the prefix."""
    monkeypatch.setenv("STREAM_QA_BROKER", broker)
    return settings


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application, ["topics", *arguments])


@pytest.mark.kafka
def test_plan_then_apply_then_plan(on_broker: str) -> None:
    pending = run("plan")
    assert pending.exit_code == 2
    assert f"+ {on_broker}applications: 4 partitions, replication factor 1" in pending.output
    assert "    retention.ms: 34560000000" in pending.output
    assert pending.output.endswith(f"{ALL} to create, 0 to change, 0 as declared, 0 refused\n")

    applied = run("apply", "--yes")
    assert applied.exit_code == 0
    assert applied.output.endswith(f"{ALL} created, 0 changed, 0 as declared, 0 refused\n")

    nothing = run("plan")
    assert nothing.exit_code == 0
    assert f"= {on_broker}applications\n" in nothing.output
    assert nothing.output.endswith(f"0 to create, 0 to change, {ALL} as declared, 0 refused\n")


@pytest.mark.kafka
def test_a_differing_partition_count_is_refused(on_broker: str) -> None:
    assert run("apply", "--yes", "--partitions", "2").exit_code == 0
    refused = run("plan")
    assert refused.exit_code == 1
    assert f"! {on_broker}labels: has 2 partitions and must have 4" in refused.output
    assert f"= {on_broker}dead-letters" in refused.output
    assert "keys would move to other partitions" in refused.output
    assert "Way out: give the count that there is as --partitions" in refused.output
    for yes in ([], ["--yes"]):
        error = run("apply", *yes).exception
        assert isinstance(error, PartitionCountError)
        assert "keys would move" in str(error)
    assert run("plan", "--partitions", "2").exit_code == 0


@pytest.mark.kafka
def test_another_replication_factor_is_mentioned(on_broker: str) -> None:
    run("apply", "--yes", "--partitions", "1")
    planned = run("plan", "--partitions", "1", "--replication-factor", "3")
    assert planned.exit_code == 0
    assert f"= {on_broker}labels\n    replication factor: 1, left alone\n" in planned.output


@pytest.mark.kafka
def test_json_says_the_same(on_broker: str) -> None:
    result = run("plan", "--json", "--partitions", "3")
    assert result.exit_code == 2
    document = json.loads(result.output)
    assert document["pending"] is True
    assert document["refused"] is False
    topics = {topic["name"]: topic for topic in document["topics"]}
    assert len(topics) == ALL
    assert topics[f"{on_broker}labels"]["action"] == "create"
    assert topics[f"{on_broker}labels"]["partitions"] == 3
    assert topics[f"{on_broker}labels"]["config"]["cleanup.policy"] == "delete"


def at_a_terminal(answer: str) -> tuple[int, str]:
    """Run ``apply`` with a terminal as its input, and answer; return the exit code and what it printed."""
    command = Path(sys.executable).with_name("stream-qa")
    ours, its = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [command, "topics", "apply"], stdin=its, capture_output=True, text=True, check=False, timeout=120
        )
    finally:
        os.close(ours)
        os.close(its)
    return done.returncode, done.stdout


@pytest.mark.kafka
def test_at_a_terminal_apply_shows_the_plan_and_asks(on_broker: str) -> None:
    code, shown = at_a_terminal("n")
    assert code == 1
    assert f"{ALL} to create" in shown
    assert "Apply this?" in shown
    assert run("plan").exit_code == 2
    code, shown = at_a_terminal("y")
    assert code == 0, shown
    assert shown.endswith(f"{ALL} created, 0 changed, 0 as declared, 0 refused\n")
    assert run("plan").exit_code == 0
    assert f"+ {on_broker}labels" in shown


@pytest.mark.kafka
def test_without_a_terminal_apply_asks_nobody_and_changes_nothing(on_broker: str) -> None:  # noqa: ARG001 # sets it
    for more in ([], ["--json"]):
        refused = run("apply", *more)
        assert isinstance(refused.exception, NotConfirmedError)
    assert run("plan").exit_code == 2
    assert run("apply", "--yes").exit_code == 0
    # Where nothing is to be done there is nothing to ask.
    assert run("apply").exit_code == 0


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_no_broker_is_our_own_error(command: str) -> None:
    assert isinstance(run(command).exception, BrokerUnavailableError)


def test_no_broker_is_a_sentence_and_exit_code_1() -> None:
    # As a process of its own: neither a traceback nor what the Kafka client logs may reach the terminal.
    command = Path(sys.executable).with_name("stream-qa")
    result = subprocess.run([command, "topics", "apply"], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("BrokerUnavailableError: no Kafka broker answers at 127.0.0.1:")
    assert "Traceback" not in result.stderr
    assert "Unable" not in result.stderr


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_help_documents_the_exit_codes(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Exit codes: 0 " in result.output


@pytest.mark.parametrize("option", ["--partitions", "--replication-factor"])
def test_a_count_of_nothing_is_a_wrong_option(option: str) -> None:
    assert run("plan", option, "0").exit_code == 2
