"""``stream-qa coefficients``, on a real broker."""

import asyncio
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from changes import delta, snapshot
from ground import PARTITIONS, PROGRAM, Ground
from typer.testing import CliRunner, Result

from stream_qa.cli import application
from stream_qa.coefficients import Tombstone, entity_key
from stream_qa.coefficients.messages import key_of
from stream_qa.errors import BrokerUnavailableError, FeatureNamesError, UnknownEntityError
from stream_qa.events import wire
from stream_qa.streaming.partitioner import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

NAMES = "member_features: [experience, distance]\njob_features: [pay]\n"


@pytest.fixture
def names(tmp_path: Path) -> str:
    """Give a file with the names of the features."""
    path = tmp_path / "names.yaml"
    path.write_text(NAMES)
    return str(path)


def publish(ground: Ground, *changes: wire.Delta | wire.Snapshot | Tombstone) -> None:
    """Write changes to their topics, each in the partition of its key."""
    topics = ground.settings.topics
    for change in changes:
        key = key_of(change)
        topic = topics.coefficient_snapshots if isinstance(change, wire.Snapshot) else topics.coefficients
        value = None if isinstance(change, Tombstone) else wire.encode(change)
        asyncio.run(ground.produce(topic, [(key, value)], partition_of(key, PARTITIONS)))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application, ["coefficients", *arguments], env={"COLUMNS": "160"})


def test_what_a_job_has_learned_is_said_in_the_names_of_the_features(on_ground: Ground, names: str) -> None:
    publish(
        on_ground,
        snapshot(4, [0.25, 0.5, -1.5], entity_id="j:1", kind="job"),
        delta(4, 5, [0.25, 0.0, 0.25], entity_id="j:1", kind="job", newest_at=1_767_571_200_000),
    )
    found = run("get", "job:j:1", "--names", names)
    assert found.exit_code == 0, found.output
    assert [re.split(r"  +", line.strip()) for line in found.output.splitlines()] == [
        ["job:j:1", "version 5, from 5 applications"],
        ["newest label", "2026-01-05 00:00:00"],
        ["model version", "model-1"],
        ["intercept", "+0.500"],
        ["this job prefers", "experience +0.500"],
        ["and avoids", "distance -1.250"],
    ]
    document = json.loads(run("get", "job:j:1", "--json").output)
    assert (document["version"], document["labels"], document["newest_at"]) == (5, 5, 1_767_571_200_000)
    assert document["features"] == [{"name": "feature 2", "value": -1.25}, {"name": "feature 1", "value": 0.5}]


def test_who_has_learned_nothing_or_is_no_entity_is_said(on_ground: Ground) -> None:
    unknown = run("get", "member:nobody")
    assert isinstance(unknown.exception, UnknownEntityError)
    assert "the global model decides" in str(unknown.exception)
    assert on_ground.settings.topics.coefficients
    unknown = run("snapshot", "member:nobody")
    assert isinstance(unknown.exception, UnknownEntityError)
    assert "1 of 1 entities have learned nothing" in str(unknown.exception)
    assert json.loads(run("snapshot", "--json").output) == {"snapshots": 0}
    nothing = run("get", "nobody")
    assert nothing.exit_code == 2
    assert "neither member:ID nor job:ID" in nothing.output


def test_without_a_broker_it_says_so(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    monkeypatch.setenv("STREAM_QA_BROKER", f"127.0.0.1:{unused_tcp_port}")
    for arguments in (("get", "job:j"), ("top",), ("watch",), ("snapshot",)):
        assert isinstance(run(*arguments).exception, BrokerUnavailableError)


def test_the_first_are_those_that_learned_most(on_ground: Ground, names: str) -> None:
    publish(
        on_ground,
        delta(0, 9, [0.0, 3.0, 4.0], entity_id="strong", kind="job", newest_at=10),
        delta(0, 20, [1.0, 0.0, 0.0], entity_id="old", kind="job", newest_at=20),
        delta(0, 2, [2.0, 0.0, 0.0], entity_id="new", kind="job", newest_at=30),
        delta(0, 1, [0.0, 9.0], entity_id="member", newest_at=40),
    )
    for by, expected in [("strength", "strong new old"), ("labels", "old strong new"), ("newest", "new old strong")]:
        found = json.loads(run("top", "--by", by, "--json").output)
        assert [each["entity_id"] for each in found] == expected.split()
    assert [each["strength"] for each in json.loads(run("top", "--count", "1", "--json").output)] == [5.0]
    (member,) = run("top", "--side", "member", "--names", names).output.splitlines()[1:]
    assert member.split() == ["member", "1", "1", "1970-01-01", "00:00:00", "9.000", "+0.000", "pay", "+9.000"]
    wrong = run("top", "--side", "member", "--names", "/nowhere")
    assert isinstance(wrong.exception, FeatureNamesError)


def test_changes_are_shown_as_they_come(on_ground: Ground, names: str) -> None:
    publish(on_ground, delta(0, 1, [1.0, 0.0, 0.0], entity_id="j", kind="job"))
    watching = subprocess.Popen(
        [*PROGRAM, "coefficients", "watch", "job:j", "--changes", "2", "--names", names],
        env=on_ground.whole_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with watching:
        assert watching.stderr is not None
        assert "following" in watching.stderr.readline()
        publish(
            on_ground,
            delta(0, 7, [5.0, 0.0, 0.0], entity_id="other", kind="job"),
            delta(1, 2, [0.5, 0.0, -0.25], entity_id="j", kind="job"),
            Tombstone("job", "j"),
        )
        output, _ = watching.communicate(timeout=30)
    assert watching.returncode == 0
    change, end = output.splitlines()
    assert change == (
        "1970-01-01 00:00:01  job:j version 2, from 2: moved intercept +0.500, distance -0.250; "
        "now intercept +1.500, distance -0.250"
    )
    assert end == "job:j dropped"


def test_watching_ends_with_an_interrupt(on_ground: Ground) -> None:
    watching = subprocess.Popen(
        [*PROGRAM, "coefficients", "watch", "--json"],
        env=on_ground.whole_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with watching:
        assert watching.stderr is not None
        assert watching.stdout is not None
        assert "following" in watching.stderr.readline()
        publish(on_ground, delta(0, 3, [0.5, 2.0], entity_id="m"))
        shown = json.loads(watching.stdout.readline())
        assert shown["entity"] == entity_key("member", "m").decode()
        assert shown["moves"] == [{"name": "intercept", "value": 0.5}, {"name": "feature 1", "value": 2.0}]
        assert shown["now"]["version"] == 3
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=30)
    assert watching.returncode == 0
    assert "Traceback" not in errors
