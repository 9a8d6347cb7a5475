"""What an event may cost, counted instead of timed: calls, reads, writes, messages and bytes.

A number that rises here is a worker that does less. Where that is worth it, the budget is raised in the same change,
which says why; where a number falls, the budget follows it down.
"""

import cProfile
import pstats
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import orjson
import pytest

from stream_qa.events import Message
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, log_event
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import Changes, MemoryState

SETTINGS = Settings()
TOPICS = SETTINGS.topics
FEATURES = 16
CHUNK = 1_000
#: Long enough that applications are over, and what their labels have added is forgotten.
MARKETPLACE = Marketplace(applications=6_000, members=800, jobs=200, days=60, features=FEATURES)


class Counted(MemoryState):
    """A table that counts how it is used."""

    def __init__(self, uses: Counter[str]) -> None:
        super().__init__()
        self._uses = uses

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._uses["reads"] += 1
        self._uses["keys read"] += len(keys)
        return super().get_many(keys)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._uses["scans"] += 1
        return super().scan(start, end)

    def apply(self, changes: Changes) -> None:
        self._uses["writes"] += 1
        self._uses["records written"] += len(changes)
        self._uses["bytes written"] += sum(len(key) + len(value or b"") for key, value in changes.items())
        super().apply(changes)


class Sent:
    """Counts what the stages send, by topic."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def add(self, message: Message) -> None:
        self.records[message.topic] += 1
        self.bytes[message.topic] += len(message.key or b"") + len(message.value or b"")


class Costs:
    """What a log has cost: by stage what its table was asked, by topic what was sent, and all calls of functions."""

    def __init__(self, marketplace: Marketplace = MARKETPLACE) -> None:
        events = _events(marketplace)
        self.events = len(events)
        self.chunks = -(-len(events) // CHUNK)
        self.tables = {stage: Counter[str]() for stage in ("label", "member", "job", "notify")}
        self.sent = Sent()
        stages = InProcessReplay(
            build_pipeline(SETTINGS), 1, self.sent, lambda name: Counted(self.tables[name.partition("-")[0]])
        )
        profile = cProfile.Profile()
        for start in range(0, len(events), CHUNK):
            profile.runcall(stages.run, events[start : start + CHUNK])
        self.calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined] # the stubs do not have it

    def a_chunk(self, stage: str, use: str) -> float:
        return self.tables[stage][use] / self.chunks

    def an_event(self, stage: str, use: str) -> float:
        return self.tables[stage][use] / self.events


def _events(marketplace: Marketplace) -> list[LogEvent]:
    log = simulate(marketplace, np.random.default_rng(0))
    return [log_event(orjson.dumps(event), TOPICS) for event in log.events()]


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs()


def test_calls_an_event(costs: Costs) -> None:
    """Every function call, of C functions too: about half of what an event takes in Python is calling."""
    assert costs.calls / costs.events < 343


@pytest.mark.parametrize(("stage", "reads", "scans"), [("member", 9, 8), ("job", 9.6, 7.5)])
def test_a_learners_table_is_read_a_chunk_at_a_time(costs: Costs, stage: str, reads: float, scans: float) -> None:
    """Reads are of many keys at once: how many there are does not grow with a chunk's records."""
    assert costs.a_chunk(stage, "reads") < reads
    assert costs.a_chunk(stage, "scans") < scans
    assert costs.a_chunk(stage, "writes") < 2


def test_the_label_table_is_read_for_answers(costs: Costs) -> None:
    """A chunk is read at once; the first answer to a job in it looks once at who else waits for one."""
    assert costs.an_event("label", "reads") < 0.085
    assert costs.an_event("label", "scans") < 0.18
    assert costs.a_chunk("label", "writes") < 2


@pytest.mark.parametrize(
    ("stage", "keys", "records", "size"),
    [("label", 1.7, 3.4, 690), ("member", 2.75, 1.95, 345), ("job", 0.95, 1.06, 180)],
)
def test_what_an_event_reads_and_writes(costs: Costs, stage: str, keys: float, records: float, size: float) -> None:
    """What is written goes to the table and to its changelog."""
    assert costs.an_event(stage, "keys read") < keys
    assert costs.an_event(stage, "records written") < records
    assert costs.an_event(stage, "bytes written") < size


@pytest.mark.parametrize(
    ("topic", "records", "size"),
    [
        (TOPICS.labels, 1.75, 1_190),
        (TOPICS.examples, 0.69, 365),
        (TOPICS.scores, 0.64, 212),
        (TOPICS.coefficients, 0.68, 238),
        (TOPICS.coefficient_snapshots, 0.66, 225),
    ],
)
def test_messages_and_bytes_an_event(costs: Costs, topic: str, records: float, size: float) -> None:
    assert 0 < costs.sent.records[topic] / costs.events < records
    assert 0 < costs.sent.bytes[topic] / costs.events < size


def test_an_event_costs_the_same_however_much_is_remembered(costs: Costs) -> None:
    """A marketplace of twice the time, with twice the members and jobs, reads and writes no more an event."""
    longer = Costs(replace(MARKETPLACE, days=120, applications=12_000, members=1_600, jobs=400))
    for stage in ("label", "member", "job"):
        for use in ("reads", "keys read", "scans", "records written", "bytes written"):
            # Of the longer log more is closed and over: each record that begins then ends, in the shorter one fewer do.
            assert longer.an_event(stage, use) < 1.2 * costs.an_event(stage, use), (stage, use)
    assert longer.calls / longer.events < 1.1 * costs.calls / costs.events
