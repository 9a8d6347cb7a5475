"""A group of lanes: what is committed and written, in which order, and what happens when that fails."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import rocksdict
from aiokafka.record.default_records import DefaultRecordBatch

from stream_qa.errors import (
    CorruptTableError,
    FencedError,
    ModelMissingError,
    OffsetGapError,
    OutcomeUnknownError,
    StreamQAError,
    TransactionRefusedError,
)
from stream_qa.events import Message, Record, SourceRecord
from stream_qa.stages.state import Outcome, StateReader
from stream_qa.streaming.batches import Batches, Destination
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.metrics import Counts
from stream_qa.streaming.positions import CHANGELOG_MARK, Origin, Position
from stream_qa.streaming.sources import Chunk
from stream_qa.streaming.table import Table

STAGES = ("label", "member", "job")
PATIENCE = 10.0
ORIGIN = Origin(b"0123456789abcdef", 4)
NEVER = 1_000.0


class Log:
    """Partitions in memory; what a group commits waits at the gate, and fails as ``fails`` says, with nothing written.

    Where ``commits_first`` is set, it is written all the same.
    """

    def __init__(self) -> None:
        self.partitions: defaultdict[Destination, list[tuple[bytes | None, bytes | None]]] = defaultdict(list)
        self.transactions: list[list[Destination]] = []
        self.tables_at_commit: list[dict[str, list[bytes]]] = []
        self.tables: dict[str, Table] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()
        self.fails: StreamQAError | None = None
        self.commits_first = False

    async def initialise(self) -> None:
        """Nobody else is there to be fenced."""

    async def commit(self, batches: Batches) -> dict[Destination, int]:
        self.transactions.append(sorted(batches.destinations()))
        self.tables_at_commit.append({stage: contents(table) for stage, table in self.tables.items()})
        self.waiting.set()
        await self.gate.wait()
        if self.fails is not None and not self.commits_first:
            raise self.fails
        last = {}
        for placed in batches.rounds():
            for destination, batch in placed:
                records = DefaultRecordBatch(batch.finish(1, 0, 0))
                self.partitions[destination] += [(record.key, record.value) for record in records]
                last[destination] = len(self.partitions[destination]) - 1
        if self.fails is not None:
            raise self.fails
        return last


def contents(table: Table) -> list[bytes]:
    """Return the keys of a table but those that keep offsets."""
    return [key for key, _ in table.scan(b"\x01", b"\xff")]


class Process:
    """A stage that keeps every record under its offset and sends it on."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __call__(self, records: Sequence[SourceRecord], _state: StateReader) -> Outcome:
        keys = [str(record.offset).encode() for record in records]
        return Outcome(
            dict.fromkeys(keys, b"value"), [Message(f"{self.stage}-output", key, self.stage.encode()) for key in keys]
        )


class Group:
    """Three lanes on real tables, their group, and what it reports."""

    def __init__(self, directory: Path, *, pause: float = 0.0, most: int = 100) -> None:
        self.log = Log()
        cache = rocksdict.Cache(1 << 20)
        self.tables = {stage: Table(directory / stage, cache, 64 << 10) for stage in STAGES}
        self.log.tables = self.tables
        self.lanes = {
            stage: Lane(stage, 2, (f"{stage}-source",), f"{stage}-changelog", table, Process(stage))
            for stage, table in self.tables.items()
        }
        self.counts = Counts("dead-letters")
        self.failures: list[BaseException] = []
        self.failed = asyncio.Event()
        self.commits = 0
        self.committed = asyncio.Event()
        self.reopened = 0
        self.reopening = asyncio.Event()
        self.opened = asyncio.Event()
        self.models_awaited: list[str] = []
        self.may_reopen = asyncio.Event()
        self.may_reopen.set()
        self.group = LaneGroup(
            2,
            list(self.lanes.values()),
            self.log,
            lambda message: (message.topic, 5),
            self.reopen,
            counts=self.counts,
            model_here=self.model_here,
            most=most,
            pause=pause,
            committed=self.after_commit,
            failed=self.after_failure,
        )

    async def model_here(self, version: str) -> None:
        self.models_awaited.append(version)

    async def reopen(self, _group: LaneGroup) -> None:
        self.reopened += 1
        self.reopening.set()
        await self.may_reopen.wait()
        self.open()
        self.opened.set()

    def open(self) -> None:
        for stage, lane in self.lanes.items():
            held = lane.table.position(f"{stage}-source")
            lane.open({f"{stage}-source": held or Position(0, ORIGIN)})

    def after_commit(self) -> None:
        self.commits += 1
        self.committed.set()

    def after_failure(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    def begin(self) -> None:
        self.open()
        self.group.start()

    def add(self, stage: str, start: int, end: int) -> None:
        lane = self.lanes[stage]
        topic = f"{stage}-source"
        records = [Record(topic, 2, offset, None, b"value") for offset in range(start, end)]
        self.group.add(lane, Chunk(topic, 2, lane.session, start, end, records))

    async def next_commit(self) -> None:
        self.committed.clear()
        await asyncio.wait_for(self.committed.wait(), 10)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    """Give a group that has not begun."""
    group = Group(tmp_path)
    yield group
    for table in group.tables.values():
        table.close()


async def test_outputs_and_changelogs_are_one_transaction_and_the_tables_are_written_after_it(group: Group) -> None:
    group.begin()
    group.add("label", 0, 2)
    group.add("job", 0, 1)
    await group.next_commit()
    await group.group.stop(PATIENCE)

    assert group.log.transactions == [
        [("job-changelog", 2), ("job-output", 5), ("label-changelog", 2), ("label-output", 5)]
    ]
    assert group.log.tables_at_commit == [{stage: [] for stage in STAGES}]
    assert {stage: contents(table) for stage, table in group.tables.items()} == {
        "label": [b"0", b"1"],
        "member": [],
        "job": [b"0"],
    }
    assert group.failures == []


async def test_the_changelog_has_all_of_the_table_and_the_table_its_place_in_it(group: Group) -> None:
    group.begin()
    for start in (0, 2):
        group.add("label", start, start + 2)
        await group.next_commit()
    await group.group.stop(PATIENCE)
    table = group.tables["label"]
    log = group.log.partitions["label-changelog", 2]
    in_table = dict(table.scan(b"", b"\xff"))
    del in_table[CHANGELOG_MARK]
    assert dict(log) == in_table
    mark, position = table.mark(), table.position("label-source")
    assert mark is not None
    assert mark.offset == len(log) - 1
    assert position == Position(4, ORIGIN)


async def test_messages_of_all_lanes_keep_their_order_within_a_destination(group: Group) -> None:
    group.begin()
    group.add("label", 0, 3)
    await group.next_commit()
    group.add("label", 3, 5)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    sent = group.log.partitions["label-output", 5]
    assert [key for key, _ in sent] == [b"0", b"1", b"2", b"3", b"4"]


async def test_what_the_broker_refuses_is_reported_and_leaves_the_table_and_the_position(group: Group) -> None:
    group.begin()
    group.log.fails = TransactionRefusedError("too large")
    group.add("label", 0, 2)
    await asyncio.wait_for(group.failed.wait(), 10)

    assert [str(error) for error in group.failures] == ["too large"]
    assert group.tables["label"].is_empty()
    assert group.lanes["label"].positions == {"label-source": 0}
    assert (group.commits, group.reopened) == (0, 0)
    await group.group.stop(PATIENCE)
    assert not group.lanes["label"].is_open


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknownError("no answer"),
        FencedError("a timeout"),
        CorruptTableError("on disk"),
        ModelMissingError("model-5"),
    ],
)
async def test_after_an_error_the_lanes_are_dropped_opened_again_and_go_on(group: Group, error: StreamQAError) -> None:
    group.begin()
    group.log.fails = error
    group.may_reopen.clear()
    session = group.lanes["label"].session
    group.add("label", 0, 2)
    await asyncio.wait_for(group.reopening.wait(), 10)
    assert not group.group.is_open
    assert group.tables["label"].is_empty()
    group.add("label", 2, 4)  # fetched before, and of the session that is over

    group.log.fails = None
    group.may_reopen.set()
    await asyncio.wait_for(group.opened.wait(), 10)
    assert group.lanes["label"].session > session
    group.add("label", 0, 2)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert group.reopened == 1
    assert group.models_awaited == (["model-5"] if isinstance(error, ModelMissingError) else [])
    assert contents(group.tables["label"]) == [b"0", b"1"]
    assert group.counts.interruptions == {type(error).__name__: 1}
    assert group.counts.events == {"label": 2}
    assert group.counts.messages == {"label-output": 2, "label-changelog": 3}
    assert group.failures == []


async def test_a_table_is_not_written_where_it_is_not_known_whether_the_log_was(group: Group) -> None:
    """Not even if it was: only the changelog can say so."""
    group.begin()
    group.log.fails = OutcomeUnknownError("no answer")
    group.log.commits_first = True
    group.may_reopen.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.reopening.wait(), 10)
    assert group.log.partitions["label-changelog", 2]
    assert group.tables["label"].is_empty()
    await group.group.stop(PATIENCE)
    assert group.tables["label"].is_empty()


async def test_one_that_is_fenced_again_and_again_though_it_is_a_member_gives_up(group: Group) -> None:
    group.begin()
    group.log.fails = FencedError("another")
    for _ in range(3):
        group.opened.clear()
        group.add("label", 0, 2)
        await asyncio.wait_for(group.opened.wait(), 10)
    group.add("label", 0, 2)
    await asyncio.wait_for(group.failed.wait(), 10)
    assert group.failures == [group.log.fails]
    assert group.reopened == 3
    await group.group.stop(PATIENCE)


async def test_one_that_waits_to_be_opened_again_can_be_stopped_at_once(group: Group) -> None:
    group.begin()
    group.log.fails = FencedError("another")
    group.may_reopen.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.reopening.wait(), 10)
    await asyncio.wait_for(group.group.stop(NEVER), 10)
    assert not group.group.is_open
    assert group.failures == []


async def test_one_that_fails_while_it_is_being_stopped_is_not_opened_again(group: Group) -> None:
    group.begin()
    group.log.gate.clear()
    group.log.fails = OutcomeUnknownError("no answer")
    group.add("label", 0, 2)
    await asyncio.wait_for(group.log.waiting.wait(), 10)
    stopping = asyncio.create_task(group.group.stop(NEVER))
    await asyncio.sleep(0)
    group.log.gate.set()
    await asyncio.wait_for(stopping, 10)
    assert group.reopened == 0
    assert not group.group.is_open
    assert group.failures == []


async def test_transactions_keep_their_distance_where_little_waits(tmp_path: Path) -> None:
    group = Group(tmp_path, pause=NEVER)
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    group.add("label", 2, 4)
    for _ in range(20):  # turns of the event loop
        await asyncio.sleep(0)
    assert len(group.log.transactions) == 1
    await asyncio.wait_for(group.group.stop(NEVER), 10)
    for table in group.tables.values():
        table.close()


async def test_transactions_follow_each_other_at_once_where_much_waits(tmp_path: Path) -> None:
    group = Group(tmp_path, pause=NEVER, most=2)
    group.begin()
    group.add("label", 0, 2)
    group.add("label", 2, 4)
    await group.next_commit()
    while group.commits < 2:
        await group.next_commit()
    await group.group.stop(PATIENCE)
    assert contents(group.tables["label"]) == [b"0", b"1", b"2", b"3"]
    for table in group.tables.values():
        table.close()


async def test_a_hole_in_the_source_is_reported_and_nothing_is_sent(group: Group) -> None:
    group.begin()
    group.add("label", 3, 4)
    await asyncio.wait_for(group.failed.wait(), 10)
    assert isinstance(group.failures[0], OffsetGapError)
    assert group.log.transactions == []
    await group.group.stop(PATIENCE)


async def test_stopping_lets_the_commit_in_flight_end_and_forgets_the_rest(group: Group) -> None:
    group.begin()
    group.log.gate.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.log.waiting.wait(), 10)
    group.add("label", 2, 4)

    stopping = asyncio.create_task(group.group.stop(PATIENCE))
    for _ in range(20):  # turns of the event loop: nothing but the gate is waited for
        await asyncio.sleep(0)
    assert not stopping.done()
    group.log.gate.set()
    await asyncio.wait_for(stopping, 10)

    assert contents(group.tables["label"]) == [b"0", b"1"]
    assert group.lanes["label"].positions == {"label-source": 2}
    assert (group.lanes["label"].is_open, group.lanes["label"].queued) == (False, 0)
    assert group.commits == 1
    assert group.failures == []


async def test_a_commit_that_does_not_end_while_stopping_is_left_to_the_log(group: Group) -> None:
    group.begin()
    group.log.gate.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.log.waiting.wait(), 10)
    await group.group.stop(seconds=0.01)
    assert group.tables["label"].is_empty()
    assert not group.group.is_open
    assert group.failures == []


async def test_after_stopping_nothing_is_taken_in(group: Group) -> None:
    group.begin()
    await group.group.stop(PATIENCE)
    group.add("label", 0, 2)
    assert group.lanes["label"].queued == 0
    await group.group.stop(PATIENCE)


async def test_a_group_that_never_began_can_be_stopped(group: Group) -> None:
    await group.group.stop(PATIENCE)
    assert group.log.transactions == []


async def test_a_stopped_group_goes_on_where_it_was_when_it_is_started_again(group: Group) -> None:
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    group.begin()
    group.add("label", 2, 3)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert contents(group.tables["label"]) == [b"0", b"1", b"2"]
    assert group.commits == 2
    assert group.failures == []
