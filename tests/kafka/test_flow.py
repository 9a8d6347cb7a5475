"""From Kafka to coefficients through a real worker process, checked against the same stages without Kafka."""

import asyncio
import subprocess
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from ground import PARTITIONS, PROGRAM, Ground
from refolding import decided_outcomes, decoded, delta_of, labels_in_process, publishing_differences, refold

from stream_qa.events import Decoder, Label
from stream_qa.replay.log import read_log
from stream_qa.stages.pipeline import build_pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

EVENTS = 8_000


@pytest.fixture(params=["simulation", pytest.param("pull-requests", marks=pytest.mark.shared_data)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give the first 8,000 events of a simulated marketplace, and of the pull requests where they are at hand."""
    if request.param == "simulation":
        whole = tmp_path / "whole.jsonl"
        subprocess.run([*PROGRAM, "simulate", str(whole), "--applications", "14000"], check=True, capture_output=True)
    else:
        whole = request.getfixturevalue("pull_requests")
    first = tmp_path / "log.jsonl"
    with whole.open("rb") as lines, first.open("wb") as out:
        out.writelines(islice(lines, EVENTS))
    return first


def test_a_worker_makes_the_final_labels_of_the_replay_and_coefficients_that_its_logs_reproduce(
    ground: Ground, log: Path, tmp_path: Path
) -> None:
    with ground.worker():
        counts = ground.replay(log, tmp_path / "emitted")

    assert counts["applications"] + counts["engagements"] == EVENTS
    assert counts["dead_letters"] == 0
    topics = ground.settings.topics
    pipeline = build_pipeline(ground.settings)
    labels, examples, coefficients = (
        asyncio.run(ground.read(topic)) for topic in (topics.labels, topics.examples, topics.coefficients)
    )

    events = read_log([log], topics).events
    expected = decided_outcomes(labels_in_process(events, ground.settings, PARTITIONS))
    assert len(expected) > EVENTS / 10
    emitted = [record for records in labels.values() for record in records]
    assert decided_outcomes(decoded(Decoder(Label), emitted)) == expected

    members, jobs = refold(pipeline.member, labels), refold(pipeline.job, examples)
    forwarded = Counter(message.value for message in members.messages if message.topic == topics.examples)
    assert Counter(record.value for records in examples.values() for record in records) == forwarded
    deltas = [delta_of(record.value) for records in coefficients.values() for record in records]
    assert len(deltas) == counts["deltas"]
    for kind, refolded in (("member", members), ("job", jobs)):
        of_kind = [delta for delta in deltas if delta.entity_kind == kind]
        assert publishing_differences(of_kind, refolded.versions) == []
