import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stream_qa.cli import application

LOAD = ("--applications-per-day", "1e6", "--members", "5000000", "--jobs", "300000", "--features", "2")


def _capacity(*arguments: object) -> Result:
    return CliRunner().invoke(application, ["capacity", *map(str, arguments)])


def test_it_says_what_it_takes_and_what_it_is_based_on() -> None:
    done = _capacity(*LOAD, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document) == {"load", "sample", "needs"}
    assert document["load"]["members"] == 5_000_000
    assert document["needs"]["partitions"] % document["needs"]["groups"] == 0
    assert document["needs"]["broker_disk"]["labels"] > document["needs"]["broker_disk"]["scores"]
    as_text = _capacity(*LOAD)
    assert as_text.exit_code == 0
    assert "memory of Redis" in as_text.stdout
    assert re.search(r"^ *STREAM_QA_GROUPS +\d+ ", as_text.stdout, re.MULTILINE)


def test_the_policy_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that are remembered for years are most of the state; the policy says for how long."""
    state = {}
    for days in (10, 1_000):
        policy = tmp_path / f"{days}.yaml"
        policy.write_text(f"memory_days: {days}\n")
        monkeypatch.setenv("STREAM_QA_POLICY", str(policy))
        state[days] = json.loads(_capacity(*LOAD, "--json").stdout)["needs"]["state"]
    assert state[1_000] > 2 * state[10]


def test_notifications_count(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = []
    for bound in ("0", "3"):
        monkeypatch.setenv("STREAM_QA_NOTIFY_PER_JOB_AND_DAY", bound)
        memory.append(json.loads(_capacity(*LOAD, "--json").stdout)["needs"]["worker_memory"])
    assert memory[0] < memory[1]


def test_a_short_log_of_ones_own_is_used_with_a_warning(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    small = ["--members", "20", "--jobs", "10", "--days", "20", "--applications", "100", "--features", "2"]
    assert CliRunner().invoke(application, ["simulate", str(log), *small]).exit_code == 0
    done = _capacity(*LOAD, "--log", log)
    assert done.exit_code == 0
    assert "less than a whole life" in done.stderr


def test_a_log_without_applications_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("")
    assert _capacity(*LOAD, "--log", log).exit_code == 1
