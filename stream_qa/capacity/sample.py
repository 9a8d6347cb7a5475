"""A sample of events through the real stages: what one application costs in messages, bytes, state and CPU time."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from stream_qa.durations import DAY
from stream_qa.errors import LogError
from stream_qa.events import Message, wire
from stream_qa.labels.event_time import APPLIED, index_entry, index_range, life_cycle_key
from stream_qa.learning.entity import entity_range
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks, log_event
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import Pipeline
from stream_qa.stages.state import Changes, MemoryState, State

_CHUNK_RECORDS = 5_000
_CHUNK_TIME = DAY
_APPLICATIONS = 6_000
_DAYS = 84
#: Of an application that is over: its entry in the index, and what is left of its life cycle.
_RECORDS_OVER = 2
#: A record's lengths, offset and time beside key and value, as variable-length numbers, and its share of the batch.
_RECORD_BYTES = 12
_END = b"\xff"


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes to one topic for each application."""

    records: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Held:
    """What tables hold of one thing."""

    records: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What one application costs."""

    days: float
    """Event time that the sample spans."""
    engagements: float
    """Engagements for each application."""
    sent: dict[str, Sent]
    """By topic, changelogs and inputs too."""
    open_state: Held
    """For each application that may still be revised: its life cycle, and what its labels have added."""
    over_state: Held
    """For each application whose id alone is remembered."""
    entity_bytes: float
    """State of a member or job, mean."""
    events_per_cpu_second: float
    """Source events through all stages in one process, without a broker, on this machine."""


def simulated_events(pipeline: Pipeline, features: int, seed: int) -> list[LogEvent]:
    """Return the events of a small marketplace that goes on for longer than an application may be revised.

    Parameters
    ----------
    pipeline
        The stages, whose policy says how long that is.
    features
        Features a side.
    seed
        Of the marketplace.
    """
    topics = pipeline.label.topics
    days = max(_DAYS, 2 * pipeline.label.policy.retention // DAY)
    marketplace = Marketplace(applications=_APPLICATIONS, members=600, jobs=250, days=days, features=features)
    log = simulate(marketplace, np.random.default_rng(seed))
    return [log_event(orjson.dumps(event), topics) for event in log.events()]


def take_sample(pipeline: Pipeline, events: Sequence[LogEvent]) -> Sample:
    """Send events through the stages, in order, and count.

    Raises
    ------
    LogError
        There are no applications in them, or they span no time.
    """
    topics = pipeline.label.topics
    applications = sum(event.topic == topics.applications for event in events)
    days = (events[-1].time - events[0].time) / DAY if events else 0.0
    if not applications or not days:
        raise LogError("a sample needs applications, and must span some time")
    messages = _Messages()
    for event in events:
        messages.add(Message(event.topic, event.key, event.value))
    states: dict[str, _CountingState] = {}

    def new_state(name: str) -> State:
        return states.setdefault(name.rpartition("-")[0], _CountingState())

    stages = InProcessReplay(pipeline, 1, messages, new_state)
    began = time.process_time()
    for part in chunks(events, _CHUNK_RECORDS, _CHUNK_TIME):
        stages.run(part)
    seconds = time.process_time() - began
    entities = [size for stage in ("member", "job") for size in states[stage].sizes(*entity_range())]
    everything = [size for state in states.values() for size in state.sizes(b"", _END)]
    policy = pipeline.label.policy
    last = max(event.time for event in events if event.topic == topics.applications)
    over = list(_over(states["label"], last - policy.retention))
    # What is still open is closed, so that every application has sent all that it ever sends.
    stages.run([_tick(topics.ticks, last + policy.retention)])
    changelogs = {
        "label": topics.label_changelog,
        "member": topics.member_changelog,
        "job": topics.job_changelog,
        "notify": topics.notify_changelog,
    }
    for stage, state in states.items():
        messages.records[changelogs[stage]] += state.written_records
        messages.bytes[changelogs[stage]] += state.written_bytes
    still_open = applications - len(over)
    return Sample(
        days=days,
        engagements=len(events) / applications - 1,
        sent={
            topic: Sent(messages.records[topic] / applications, messages.bytes[topic] / applications)
            for topic in topics.all()
            if messages.records[topic]
        },
        open_state=_held(
            len(everything) - len(entities) - _RECORDS_OVER * len(over),
            sum(everything) - sum(entities) - sum(over),
            still_open,
        ),
        over_state=_held(_RECORDS_OVER * len(over), sum(over), len(over)),
        entity_bytes=sum(entities) / max(1, len(entities)),
        events_per_cpu_second=len(events) / seconds,
    )


def _over(table: State, until: int) -> Iterator[int]:
    """Yield the bytes held of each application that was sent at or before ``until`` (ms)."""
    for key, value in table.scan(*index_range(APPLIED, -1, until)):
        _, application_id = index_entry(APPLIED, key)
        life_cycle = life_cycle_key(application_id)
        [record] = table.get_many([life_cycle])
        yield len(key) + len(value) + len(life_cycle) + len(record or b"")


def _held(records: int, size: int, count: int) -> Held:
    return Held(records / max(1, count), size / max(1, count))


class _Messages:
    """Counts what is sent, by topic."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def add(self, message: Message) -> None:
        self.records[message.topic] += 1
        self.bytes[message.topic] += len(message.key or b"") + len(message.value or b"") + _RECORD_BYTES


class _CountingState(MemoryState):
    """State that knows how much was written to it, as the changelog has it."""

    def __init__(self) -> None:
        super().__init__()
        self.written_records = 0
        self.written_bytes = 0

    def apply(self, changes: Changes) -> None:
        self.written_records += len(changes)
        self.written_bytes += sum(len(key) + len(value or b"") + _RECORD_BYTES for key, value in changes.items())
        super().apply(changes)

    def sizes(self, start: bytes, end: bytes) -> Iterator[int]:
        """Yield the size of every item with ``start <= key < end``."""
        for key, value in self.scan(start, end):
            yield len(key) + len(value)


def _tick(topic: str, reached_at: int) -> LogEvent:
    tick = wire.Tick(0, reached_at, applications=True, engagements=True)
    return LogEvent(reached_at, 0, wire.encode(tick), b"0", topic)
