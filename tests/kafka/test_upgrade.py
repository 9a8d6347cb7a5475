"""What an earlier version left on a broker: this one opens it, and goes on as if nothing had been.

The recordings are made by ``tools/record_upgrade.py``: a broker's data after the first half of a log. Here the broker
goes on with them, and a worker that has nothing but the topics takes the second half.
"""

import asyncio
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from ground import PARTITIONS, Ground
from ports import free_port
from refolding import Log, decided_outcomes, decoded, delta_of, labels_in_process, publishing_differences, refold

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.java import java_with_kafka
from stream_qa.errors import BrokerStartError
from stream_qa.events import Decoder, Example, Label
from stream_qa.replay.log import read_log
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.topics import apply

DATA = Path(__file__).parents[1] / "data" / "upgrade"
LOGS = [DATA / "first.jsonl.gz", DATA / "second.jsonl.gz"]
RECORDINGS = sorted(path.name.removesuffix(".tar.xz") for path in DATA.glob("*.tar.xz"))
#: The recordings were made on another processor: numpy's exponential is not the same to the last bit on all of them.
LAST_BITS = 1e-12
#: From before there was a version: messages had other fields then, so only what follows from the events is compared.
BEFORE_VERSIONS = ["format-2"]
#: The recordings are old, and the broker is not to delete what has been there for too long before it is read.
KEEP = {"log.retention.check.interval.ms": str(2**40), "log.initial.task.delay.ms": str(2**40)}

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


@pytest.fixture
def upgraded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Give the topics of a recording on a broker of today, upgraded as the changelog says: topics first."""
    try:
        java_with_kafka(lambda _: None)
    except BrokerStartError as error:
        pytest.skip(str(error))
    with tarfile.open(DATA / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path / "broker", filter="data")
    broker = DevelopmentBroker(tmp_path / "broker", free_port(), more_properties=KEEP)
    broker.up()
    try:
        settings = Settings(broker=broker.bootstrap)
        asyncio.run(apply(settings.kafka, settings.topic_prefix))
        yield Ground(settings, tmp_path, {"STREAM_QA_BROKER": broker.bootstrap})
    finally:
        broker.down()


def test_there_are_recordings() -> None:
    assert set(BEFORE_VERSIONS) < set(RECORDINGS)


@pytest.mark.parametrize(("upgraded", "recording"), [(name, name) for name in RECORDINGS], indirect=["upgraded"])
def test_a_worker_goes_on_from_what_an_earlier_version_left(upgraded: Ground, recording: str, tmp_path: Path) -> None:
    topics = upgraded.settings.topics
    before = asyncio.run(upgraded.read(topics.labels))
    assert sum(map(len, before.values())) > 0
    with upgraded.worker():
        counts = upgraded.replay(LOGS[1], tmp_path / "emitted")
    assert counts["dead_letters"] == 0

    labels = asyncio.run(upgraded.read(topics.labels))
    for partition, records in before.items():
        assert labels[partition][: len(records)] == records
    events = read_log(LOGS, topics).events
    emitted = [record for records in labels.values() for record in records]
    expected = decided_outcomes(labels_in_process(events, upgraded.settings, PARTITIONS))
    assert len(expected) > len(events) / 4
    assert decided_outcomes(decoded(Decoder(Label), emitted)) == expected
    if recording not in BEFORE_VERSIONS:
        assert learning_differences(upgraded, labels) == []


def learning_differences(ground: Ground, labels: Log) -> list[str]:
    """Return where examples and deltas, of both versions, are not those of today's learners from the first label on."""
    topics, pipeline = ground.settings.topics, build_pipeline(ground.settings)
    examples, coefficients = (asyncio.run(ground.read(topic)) for topic in (topics.examples, topics.coefficients))
    members, jobs = refold(pipeline.member, labels), refold(pipeline.job, examples)
    forwarded = in_order(message.value for message in members.messages if message.topic == topics.examples)
    found = in_order(record.value for records in examples.values() for record in records)
    if len(found) != len(forwarded):
        return [f"there are {len(found)} examples, and {len(forwarded)} are right"]
    differences = [
        f"{example} where {right} is right"
        for example, right in zip(found, forwarded, strict=True)
        if abs(example.member_log_odds - right.member_log_odds) > LAST_BITS
        or example.model_copy(update={"member_log_odds": right.member_log_odds}) != right
    ]
    deltas = [delta_of(record.value) for records in coefficients.values() for record in records]
    for kind, refolded in (("member", members), ("job", jobs)):
        of_kind = [delta for delta in deltas if delta.entity_kind == kind]
        assert of_kind
        differences += publishing_differences(of_kind, refolded.versions)
    return differences


def in_order(values: Iterable[bytes | None]) -> list[Example]:
    """Return the examples in messages, by application and revision."""
    examples = [Example.model_validate_json(value or b"") for value in values]
    return sorted(examples, key=lambda example: (example.application_id, example.revision))
