"""The worker's clock put into the log: when, for which inputs, and how far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import rocksdict
from builders import START, application, as_record, engagement
from label_partition import label_stage

from stream_qa.errors import CorruptTableError
from stream_qa.events import Decoder, Message, Record, Tick
from stream_qa.labels import LabelPolicy
from stream_qa.stages.state import MemoryState
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.positions import Origin, Position
from stream_qa.streaming.replay_steps import ReplaySteps
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.sources import Order
from stream_qa.streaming.table import Table
from stream_qa.streaming.ticking import Ticker

QUIET_SECONDS = 60.0
STAGE = label_stage(LabelPolicy())
TOPICS = STAGE.topics
SOURCES = (TOPICS.applications, TOPICS.engagements, TOPICS.ticks)


@dataclass
class Clock:
    """A clock that goes on when it is told to."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Group:
    """A group that keeps what it is to send."""

    lanes: list[Lane]
    sent: list[Message] = field(default_factory=list)
    woken: int = 0

    def wake(self) -> None:
        self.woken += 1

    def send(self, _lane: Lane, message: Message) -> None:
        self.sent.append(message)


@dataclass
class Ground:
    """The label lane of a partition that has read one application and two engagements of an hour later."""

    clock: Clock
    lane: Lane
    group: Group
    ticker: Ticker

    def hear(self, topic: str, *, behind: int = 0) -> None:
        """Let a record of ``topic`` come in and be taken."""
        start = self.lane.positions[topic]
        record = Record(topic, 0, start, None, b"{}")
        self.lane.add(Chunk(topic, 0, self.lane.session, start, start + 1, [record], behind))
        self.lane.positions |= self.lane.waiting.take(10, self.lane.positions)[1]

    def ticks(self) -> list[tuple[int, bool, bool]]:
        """Return the ticks that were sent: how far after the engagement (ms), and for which inputs."""
        ticks = Decoder(Tick).decode(message.value for message in self.group.sent)
        return [(t.reached_at - START - 3_600_000, t.applications, t.engagements) for t in ticks if isinstance(t, Tick)]


@pytest.fixture
def ground(tmp_path: Path) -> Any:  # noqa: ANN401 # a generator of it
    """Give the ground."""
    clock = Clock()
    table = Table(tmp_path / "table", rocksdict.Cache(1 << 20), 64 << 10)
    answers = [engagement(application_id=name, engaged_at=START + 3_600_000) for name in ("application-1", "another")]
    events = [as_record(event) for event in (application(), *answers)]
    outcome = STAGE.process(0, events, MemoryState(), MemoryState())
    for key, value in outcome.changes.items():
        table.apply({key: value})
    lane = Lane(
        "label", 0, SOURCES, "label-changelog", table,
        lambda records, state: STAGE.process(0, records, state, MemoryState()),
        Order(STAGE.event_times, 1.0, ReplaySteps(0, 1.0), clock=clock),
    )  # fmt: skip
    lane.open({topic: Position(0, Origin(bytes(16), 4)) for topic in SOURCES})
    assert lane.step(10) is None
    group = Group([lane])
    yield Ground(clock, lane, group, Ticker(STAGE, cast("LaneGroup", group), lane, QUIET_SECONDS, clock))
    table.close()


def test_an_input_is_quiet_only_after_a_time(ground: Ground) -> None:
    ground.clock.seconds += QUIET_SECONDS - 1
    assert not ground.ticker.tick()
    assert ground.ticks() == []


def test_when_all_is_quiet_time_goes_on_from_the_newest_event(ground: Ground) -> None:
    ground.clock.seconds += QUIET_SECONDS
    # The applications come up with the engagements; those are there already.
    assert ground.ticker.tick()
    ground.clock.seconds += QUIET_SECONDS
    assert ground.ticker.tick()
    assert ground.ticks() == [(0, True, False), (60_000, True, True)]


def test_the_time_between_two_ticks_counts_once(ground: Ground) -> None:
    ground.clock.seconds += 2 * QUIET_SECONDS
    assert ground.ticker.tick()
    for message in ground.group.sent:
        record = Record(TOPICS.ticks, 0, 0, message.key, message.value)
        ground.lane.table.apply(STAGE.process(0, [record], ground.lane.table, MemoryState()).changes)
    ground.clock.seconds += QUIET_SECONDS
    assert ground.ticker.tick()
    assert ground.ticks() == [(60_000, True, True), (120_000, True, True)]


def test_events_that_come_one_by_one_do_not_hold_time_up(ground: Ground) -> None:
    """One alone does not move the present, and the time that passes until the next tick counts all the same."""
    ground.clock.seconds += 2 * QUIET_SECONDS
    for _ in range(5):
        assert ground.ticker.tick()
        message = ground.group.sent[-1]
        record = Record(TOPICS.ticks, 0, 0, message.key, message.value)
        ground.lane.table.apply(STAGE.process(0, [record], ground.lane.table, MemoryState()).changes)
        ground.clock.seconds += QUIET_SECONDS
        ground.hear(TOPICS.engagements)
        ground.clock.seconds += QUIET_SECONDS
    assert [reached for reached, *_ in ground.ticks()] == [60_000 + 120_000 * number for number in range(5)]


def test_while_one_input_brings_events_the_other_stays_behind_them_by_as_long(ground: Ground) -> None:
    ground.clock.seconds += 2 * QUIET_SECONDS
    ground.hear(TOPICS.engagements)
    assert ground.ticker.tick()
    assert ground.ticks() == [(-60_000, True, False)]


def test_an_input_that_is_not_read_to_its_end_is_not_quiet(ground: Ground) -> None:
    ground.hear(TOPICS.applications, behind=3)
    ground.clock.seconds += 10 * QUIET_SECONDS
    assert not ground.ticker.tick()


def test_while_something_is_left_to_do_time_needs_no_moving(ground: Ground) -> None:
    ground.lane.open({topic: Position(0, Origin(bytes(16), 4)) for topic in SOURCES})
    ground.clock.seconds += 10 * QUIET_SECONDS
    assert not ground.ticker.tick()


def test_damage_that_a_tick_meets_is_left_to_the_group(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_keys: Sequence[bytes]) -> list[bytes | None]:
        raise CorruptTableError("a block's checksum is wrong")

    monkeypatch.setattr(ground.lane.table, "get_many", damaged)
    ground.clock.seconds += QUIET_SECONDS
    assert not ground.ticker.tick()
    assert (ground.group.sent, ground.group.woken) == ([], 1)


def test_a_lane_that_is_not_open_has_no_time(ground: Ground) -> None:
    ground.clock.seconds += 10 * QUIET_SECONDS
    ground.lane.drop()
    assert not ground.ticker.tick()
