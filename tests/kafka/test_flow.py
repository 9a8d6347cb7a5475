"""From Kafka to coefficients through a real worker process, checked against the same stages without Kafka."""

import asyncio
import gzip
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from aiokafka import ConsumerRecord
from ground import PARTITIONS, Ground

from stream_qa.events import Record
from stream_qa.learning.arrays import Floats
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import chunks, read_log
from stream_qa.replay.report import Report
from stream_qa.settings import Settings
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

EVENTS = 20_000
REPOSITORY = Path(__file__).parents[2]
PULL_REQUESTS = REPOSITORY.parent / "shared" / "data" / "github_pull_requests" / "pull_requests.csv.gz"

Versions = dict[tuple[str, int], Floats]


@pytest.fixture(params=["simulation", pytest.param("pull-requests", marks=pytest.mark.shared_data)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give the first 20,000 events of a simulated marketplace, and of the pull requests where they are at hand."""
    whole = tmp_path / "whole.jsonl.gz"
    if request.param == "simulation":
        program = [sys.executable, "-c", "from stream_qa.cli import main; main()"]
        subprocess.run([*program, "simulate", str(whole), "--applications", "14000"], check=True, capture_output=True)
    else:
        if not PULL_REQUESTS.exists():
            pytest.skip("the pull-request data set is not beside the checkout")
        script = REPOSITORY / "examples" / "github_pull_requests" / "to_events.py"
        subprocess.run([sys.executable, str(script), str(PULL_REQUESTS), str(whole)], check=True, capture_output=True)
    first = tmp_path / "log.jsonl"
    with gzip.open(whole) as lines, first.open("wb") as out:
        out.writelines(islice(lines, EVENTS))
    return first


def test_a_worker_makes_the_final_labels_of_the_replay_and_coefficients_that_its_logs_reproduce(
    ground: Ground, log: Path, tmp_path: Path
) -> None:
    with ground.worker():
        counts = ground.replay(log, tmp_path / "emitted")

    assert counts["applications"] + counts["engagements"] == EVENTS
    assert counts["dead_letters"] == 0
    assert final_labels(read_values(tmp_path / "emitted" / "labels.jsonl")) == final_labels(in_process(log, tmp_path))

    topics = ground.settings.topics
    pipeline = build_pipeline(ground.settings)
    labels, examples, deltas = (
        asyncio.run(ground.read(topic)) for topic in (topics.labels, topics.examples, topics.coefficients)
    )
    members, forwarded = fold(pipeline.member, labels)
    jobs, _ = fold(pipeline.job, examples)
    sent = {record.value for records in examples.values() for record in records}
    assert sent == {message.value for message in forwarded if message.topic == topics.examples}
    published = [orjson.loads(record.value) for records in deltas.values() for record in records]
    assert len(published) == counts["deltas"]
    assert_published(published, "member", members)
    assert_published(published, "job", jobs)


def in_process(log: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Return the labels that the stages emit without Kafka."""
    settings = Settings()
    with Report(settings.topics, tmp_path / "in-process") as report:
        stages = InProcessReplay(build_pipeline(settings), PARTITIONS, report)
        for chunk in chunks(read_log([log], settings.topics).events, 500, 10**12):
            stages.run(chunk)
    return read_values(tmp_path / "in-process" / "labels.jsonl")


def read_values(path: Path) -> Iterator[dict[str, Any]]:
    """Return the messages of a file that a report wrote."""
    return map(orjson.loads, path.read_bytes().splitlines())


def final_labels(labels: Iterator[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return what the newest revision says of each application whose label is final."""
    newest: dict[str, dict[str, Any]] = {}
    for label in labels:
        known = newest.get(label["application_id"])
        if known is None or label["revision"] > known["revision"]:
            newest[label["application_id"]] = label
    final = {found: label for found, label in newest.items() if label["final"]}
    assert len(final) > EVENTS / 10
    return {
        found: tuple(label[name] for name in ("value", "weight", "reason", "happened_at"))
        for found, label in final.items()
    }


def fold(stage: LearnStage[Any], log: dict[int, list[ConsumerRecord]]) -> tuple[Versions, list[Any]]:
    """Return every version of every entity, and what is sent on, from one record at a time in log order."""
    versions: Versions = {}
    newest: dict[str, Floats] = defaultdict(lambda: np.zeros(1))
    messages = []
    for partition, records in log.items():
        state = MemoryState()
        for record in records:
            source = Record(record.topic, partition, record.offset, record.key, record.value)
            outcome = stage.process(partition, [source], state)
            state.apply(outcome.changes)
            for message in outcome.messages:
                if message.topic == stage.publisher.deltas and message.value is not None:
                    delta = orjson.loads(message.value)
                    entity_id = delta["entity_id"]
                    assert delta["version"] == delta["base_version"] + 1
                    newest[entity_id] = newest[entity_id] + np.array(delta["change"])
                    versions[entity_id, delta["version"]] = newest[entity_id]
            messages += outcome.messages
    return versions, messages


def assert_published(published: list[dict[str, Any]], kind: str, versions: Versions) -> None:
    """Assert that the deltas of one kind are contiguous and add up, bit for bit, to the folded versions."""
    held: dict[str, tuple[int, Floats]] = {}
    for delta in published:
        if delta["entity_kind"] == kind:
            entity_id, version = delta["entity_id"], delta["version"]
            base_version, vector = held.get(entity_id, (0, np.zeros(1)))
            assert delta["base_version"] == base_version
            held[entity_id] = version, vector + np.array(delta["change"])
            assert held[entity_id][1].tobytes() == versions[entity_id, version].tobytes()
    # In a fold of single steps every version is seen, so a dictionary ends with the last.
    assert {entity_id: version for entity_id, (version, _) in held.items()} == dict(versions.keys())
