"""What a worker must have emitted, found again: a stage's log folded one record at a time, and the log in one process.

A learner reads one partition of one topic in log order, so all that it writes is a function of that log. The final
labels are a function of the events.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from aiokafka import ConsumerRecord
from label_oracle import Outcome, outcome_of

from stream_qa.coefficients.messages import entity_of
from stream_qa.errors import RejectedError
from stream_qa.events import Decoder, Delta, Label, Message, Record
from stream_qa.events.fields import Event
from stream_qa.learning.arrays import Floats
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks
from stream_qa.replay.report import Report
from stream_qa.settings import Settings
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.streaming.partitioner import share_of

Log = Mapping[int, Sequence[ConsumerRecord]]
"""The records of a topic by partition, in log order."""

Versions = dict[tuple[str, int], Floats]
"""The published coefficients of an entity at each of its versions."""

E = TypeVar("E", bound=Event)

_CHUNK_EVENTS = 500
_NO_LIMIT = 10**12


class Refolded(NamedTuple):
    """All that follows from a learner's log."""

    versions: Versions
    messages: list[Message]
    states: dict[int, MemoryState]
    """The learner's table, by partition."""


def refold(stage: LearnStage[Any], log: Log) -> Refolded:
    """Take a learner's log, all partitions of it, through its stage, one record at a time."""
    versions: Versions = {}
    newest: dict[str, Floats] = defaultdict(lambda: np.zeros(1))
    messages: list[Message] = []
    states: dict[int, MemoryState] = {}
    for partition, records in log.items():
        state = states[partition] = MemoryState()
        sources = [Record(record.topic, partition, record.offset, record.key, record.value) for record in records]
        share = share_of(partition, len(log))
        # Where entities start from what a bundle knows of them, they do so before any label here.
        for source in [None, *sources] if stage.warm_start else sources:
            outcome = stage.process(partition, [] if source is None else [source], state, share)
            assert not outcome.unfinished
            state.apply(outcome.changes)
            for message in outcome.messages:
                if message.topic == stage.publisher.deltas and message.value is None:
                    # What there was of the entity is over; it may begin anew.
                    _, entity_id = entity_of(message.key)
                    newest.pop(entity_id, None)
                    versions = {key: vector for key, vector in versions.items() if key[0] != entity_id}
                elif message.topic == stage.publisher.deltas and message.value is not None:
                    delta = delta_of(message.value)
                    assert delta.version == delta.base_version + 1
                    newest[delta.entity_id] = newest[delta.entity_id] + np.array(delta.change)
                    versions[delta.entity_id, delta.version] = newest[delta.entity_id]
            messages += outcome.messages
    return Refolded(versions, messages, states)


def publishing_differences(deltas: Iterable[Delta], versions: Versions) -> list[str]:
    """Return where the deltas of one kind of entity are not contiguous, or do not add up to the refolded versions."""
    differences = []
    held: dict[str, tuple[int, Floats]] = {}
    for delta in deltas:
        name = f"{delta.entity_kind} {delta.entity_id}"
        base_version, vector = held.get(delta.entity_id, (0, np.zeros(1)))
        if delta.base_version != base_version:
            differences.append(
                f"{name}: a delta from version {delta.base_version} to {delta.version} follows version {base_version}"
            )
        sum_ = vector + np.array(delta.change)
        held[delta.entity_id] = delta.version, sum_
        expected = versions.get((delta.entity_id, delta.version))
        if expected is None:
            differences.append(f"{name}: version {delta.version} is published, and its log has no such version")
        elif expected.tobytes() != sum_.tobytes():
            differences.append(f"{name}: version {delta.version} is not what its log gives: {sum_} not {expected}")
    # In a refolding of single steps every version is seen, so a dictionary ends with the last.
    last = dict(versions.keys())
    for entity_id, version in last.items():
        published, _ = held.get(entity_id, (0, None))
        if published != version:
            differences.append(f"{entity_id}: version {published} is the last published, and its log gives {version}")
    return differences


def delta_of(value: bytes) -> Delta:
    """Return the delta in a message."""
    return Delta.model_validate_json(value)


def decoded(decoder: Decoder[E], records: Iterable[ConsumerRecord]) -> list[E]:
    """Return the messages of a topic of our own; each of them can be decoded."""
    found = decoder.decode(record.value for record in records)
    rejected = [message for message in found if isinstance(message, RejectedError)]
    assert not rejected, rejected[0]
    return [message for message in found if not isinstance(message, RejectedError)]


def decided_outcomes(labels: Iterable[Label]) -> dict[str, Outcome]:
    """Return what the newest revision says of each application whose label is final, or is by an answer.

    Whatever the order in which the two topics were read.
    """
    newest: dict[str, Label] = {}
    for label in labels:
        known = newest.get(label.application_id)
        if known is None or label.revision > known.revision:
            newest[label.application_id] = label
    return {
        application_id: outcome_of(label)
        for application_id, label in newest.items()
        if label.final or label.reason.startswith("explicit:")
    }


def labels_in_process(events: Iterable[LogEvent], settings: Settings, partitions: int) -> list[Label]:
    """Return the labels that the stages emit for a log without Kafka."""
    pipeline = build_pipeline(settings)
    emitted = _Emitted(settings.topics)
    stages = InProcessReplay(pipeline, partitions, emitted)
    for chunk in chunks(events, _CHUNK_EVENTS, _NO_LIMIT):
        stages.run(chunk)
    found = Decoder(Label).decode(emitted.labels)
    return [label for label in found if isinstance(label, Label)]


class _Emitted(Report):
    """Keeps the labels as they are emitted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.labels: list[bytes | None] = []

    def add(self, message: Message) -> None:
        if message.topic == self.topics.labels:
            self.labels.append(message.value)
