"""The commands as an operator runs them: what is on stdout, what is on stderr, which exit code."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import PROGRAM
from ports import free_port
from typer.testing import CliRunner

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.java import java_with_kafka
from stream_qa.cli import application
from stream_qa.errors import BrokerStartError


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, "broker", *arguments], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "broker"
    DevelopmentBroker(tmp_path / "broker").down()


@pytest.mark.kafka
def test_up_status_down(directory: Path) -> None:
    try:
        java_with_kafka(lambda _: None)
    except BrokerStartError as error:
        pytest.skip(str(error))
    port = free_port()
    where = f"--directory={directory}"
    for words in ("Starting Apache Kafka", "runs already"):
        up = run("up", where, f"--port={port}")
        assert (up.returncode, up.stdout) == (0, f"127.0.0.1:{port}\n")
        assert words in up.stderr

    status = run("status", where, "--json")
    assert status.returncode == 0
    found = json.loads(status.stdout)
    assert found["running"] is True
    assert found["bootstrap"] == f"127.0.0.1:{port}"
    assert found["log_file"] == str(directory / "broker.log")

    down = run("down", where, "--delete-data")
    assert (down.returncode, down.stdout) == (0, "")
    assert "stopped" in down.stderr
    assert not (directory / "kafka-data").exists()


def test_status_without_a_broker(directory: Path) -> None:
    result = CliRunner().invoke(application, ["broker", "status", "--json", "--directory", str(directory)])
    assert result.exit_code == 3
    assert json.loads(result.stdout)["pid"] is None


def test_down_without_a_broker(directory: Path) -> None:
    result = CliRunner().invoke(application, ["broker", "down", "--directory", str(directory)])
    assert result.exit_code == 0
    assert "No broker" in result.stderr


def test_delete_data_leaves_a_directory_alone_that_is_no_broker(directory: Path) -> None:
    (directory / "kafka-data").mkdir(parents=True)
    result = CliRunner().invoke(application, ["broker", "down", "--delete-data", "--directory", str(directory)])
    assert result.exit_code == 0
    assert (directory / "kafka-data").is_dir()


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(application, ["broker", command, "--help"])
    assert result.exit_code == 0
    assert "Example: " in result.stdout
