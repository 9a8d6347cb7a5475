"""A group of lanes: what is committed and written, in which order, and what happens when that fails."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import rocksdict
from aiokafka.record.default_records import DefaultRecordBatch

from stream_qa.errors import (
    CorruptTableError,
    FencedError,
    ModelMissingError,
    OffsetGapError,
    OffsetsTakenError,
    OutcomeUnknownError,
    StreamQAError,
    TransactionRefusedError,
)
from stream_qa.events import Message, Record, SourceRecord
from stream_qa.stages.state import Outcome, StateReader
from stream_qa.streaming.batches import Batches, Destination, Written
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.metrics import Counts
from stream_qa.streaming.positions import CHANGELOG_MARK, Origin, Position
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.table import Table

STAGES = ("label", "member", "job")
PATIENCE = 10.0
ORIGIN = Origin(b"0123456789abcdef", 4)
NEVER = 1_000.0
Pair = tuple[bytes | None, bytes | None]


class Log:
    """Partitions in memory; a commit waits at the gate, and fails as ``fails`` says, with nothing committed.

    Where ``commits_first`` is set, it is committed all the same. As on a broker, what is open has offsets and cannot
    be read, and the end of a transaction has an offset of its own in each partition that it wrote to.
    """

    def __init__(self) -> None:
        self.partitions: defaultdict[Destination, list[Pair | None]] = defaultdict(list)
        """Records by offset; ``None`` for what cannot be read."""
        self.transactions: list[list[Destination]] = []
        self.tables_at_commit: list[dict[str, list[bytes]]] = []
        self.tables: dict[str, Table] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()
        self.fails: StreamQAError | None = None
        self.commits_first = False
        self.writes = self.taken_back = 0
        self._open: dict[Destination, list[tuple[int, Pair]]] = {}

    def records(self, destination: Destination) -> list[Pair]:
        """Return what can be read."""
        return [record for record in self.partitions[destination] if record is not None]

    async def initialise(self) -> None:
        """Nobody else is there to be fenced."""

    async def write(self, batches: Batches) -> dict[Destination, Written]:
        self.writes += 1
        written = {}
        for placed in batches.rounds():
            for destination, batch in placed:
                log, first = self.partitions[destination], len(self.partitions[destination])
                for record in DefaultRecordBatch(batch.finish(1, 0, 0)):
                    self._open.setdefault(destination, []).append((len(log), (record.key, record.value)))
                    log.append(None)
                written[destination] = Written(first, len(log) - 1)
        return written

    async def commit(self) -> None:
        self.transactions.append(sorted(self._open))
        self.tables_at_commit.append({stage: contents(table) for stage, table in self.tables.items()})
        self.waiting.set()
        await self.gate.wait()
        if self.fails is not None and not self.commits_first:
            self._end()
            raise self.fails
        for destination, records in self._open.items():
            for offset, record in records:
                self.partitions[destination][offset] = record
        self._end()
        if self.fails is not None:
            raise self.fails

    async def abort(self) -> None:
        self.taken_back += bool(self._open)
        self._end()

    def _end(self) -> None:
        for destination in self._open:
            self.partitions[destination].append(None)
        self._open = {}


def contents(table: Table) -> list[bytes]:
    """Return the keys of a table but those that keep offsets."""
    return [key for key, _ in table.scan(b"\x01", b"\xff")]


class Process:
    """A stage that keeps every record under its offset and sends it on, or fails."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.fails: Exception | None = None
        self.most: int | None = None
        """Records that it uses at once, where it leaves others."""

    def __call__(self, records: Sequence[SourceRecord], _state: StateReader) -> Outcome:
        if self.fails is not None:
            raise self.fails
        keys = [str(record.offset).encode() for record in records[: self.most]]
        return Outcome(
            dict.fromkeys(keys, b"value"),
            [Message(f"{self.stage}-output", key, self.stage.encode()) for key in keys],
            left=len(records) - len(keys),
        )


class Group:
    """Three lanes on real tables, their group, and what it reports."""

    def __init__(self, directory: Path, *, pause: float = 0.0, most: int = 100, is_alone: bool = True) -> None:
        self.log = Log()
        cache = rocksdict.Cache(1 << 20)
        self.tables = {stage: Table(directory / stage, cache, 64 << 10) for stage in STAGES}
        self.log.tables = self.tables
        self.processes = {stage: Process(stage) for stage in STAGES}
        self.lanes = {
            stage: Lane(stage, 2, (f"{stage}-source",), f"{stage}-changelog", table, self.processes[stage])
            for stage, table in self.tables.items()
        }
        self.destinations: dict[str, Destination] = {}
        """Of what goes elsewhere than to the output."""
        self.counts = Counts("dead-letters")
        self.failures: list[BaseException] = []
        self.failed = asyncio.Event()
        self.commits = 0
        self.handed: list[dict[Destination, int]] = []
        """After each commit: where that ends which need not be fetched."""
        self.committed = asyncio.Event()
        self.reopened = 0
        self.reopening = asyncio.Event()
        self.opened = asyncio.Event()
        self.models_awaited: list[str] = []
        self.may_reopen = asyncio.Event()
        self.may_reopen.set()
        self.group = LaneGroup(
            "2",
            list(self.lanes.values()),
            self.log,
            lambda message: self.destinations.get(message.topic, (message.topic, 5)),
            self.reopen,
            is_alone=is_alone,
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
        for table in self.tables.values():
            if table.is_damaged:
                table.clear()
        self.open()
        self.opened.set()

    def open(self) -> None:
        for stage, lane in self.lanes.items():
            topic = f"{stage}-source"
            at = lane.table.position(topic) or Position(0, ORIGIN)
            lane.open({topic: at}, behind={topic: len(self.log.partitions[topic, 2]) - at.offset})

    def after_commit(self, handed: Mapping[Destination, int]) -> None:
        self.commits += 1
        self.handed.append(dict(handed))
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

    def flows(self, partition: int = 2) -> None:
        """Let each stage write to the next one's source."""
        self.destinations = {"label-output": ("member-source", partition), "member-output": ("job-source", partition)}

    def fetch(self, stage: str, start: int) -> None:
        """Add all of a source's log from an offset on."""
        lane, topic = self.lanes[stage], f"{stage}-source"
        log = self.log.partitions[topic, 2]
        records = [Record(topic, 2, offset, *pair) for offset, pair in enumerate(log) if offset >= start and pair]
        self.group.add(lane, Chunk(topic, 2, lane.session, start, len(log), records))

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
    log = group.log.records(("label-changelog", 2))
    in_table = dict(table.scan(b"", b"\xff"))
    del in_table[CHANGELOG_MARK]
    assert dict(log) == in_table
    mark, position = table.mark(), table.position("label-source")
    assert mark is not None
    # Before the end of the last transaction.
    assert mark.offset == len(group.log.partitions["label-changelog", 2]) - 2
    assert position == Position(4, ORIGIN)


async def test_what_a_stage_writes_to_a_lane_of_the_group_goes_through_the_next_in_the_same_transaction(
    group: Group,
) -> None:
    group.flows()
    group.begin()
    for start, offsets in ((0, [b"0", b"1"]), (2, [b"0", b"1", b"3", b"4"])):  # 2 is the end of the first transaction
        group.add("label", start, start + 2)
        await group.next_commit()
        assert group.log.tables_at_commit[-1]["member"] == contents(group.tables["member"])[:start]
        assert contents(group.tables["member"]) == contents(group.tables["job"]) == offsets
        assert group.log.transactions[-1] == [
            *(("job-changelog", 2), ("job-output", 5), ("job-source", 2)),
            *(("label-changelog", 2), ("member-changelog", 2), ("member-source", 2)),
        ]
    assert (group.commits, group.log.writes) == (2, 2)
    assert group.handed == [{("member-source", 2): end, ("job-source", 2): end} for end in (2, 5)]
    # Restarted or not, each goes on behind what it has learned of.
    assert {stage: group.tables[stage].position(f"{stage}-source") for stage in STAGES} == {
        "label": Position(4, ORIGIN),
        "member": Position(5, ORIGIN),
        "job": Position(5, ORIGIN),
    }
    assert [key for key, _ in group.log.records(("job-output", 5))] == [b"0", b"1", b"3", b"4"]
    assert group.counts.events == {"label": 4, "member": 4, "job": 4}
    await group.group.stop(PATIENCE)


async def test_what_was_taken_before_it_could_be_fetched_is_not_taken_again(group: Group) -> None:
    group.flows()
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    group.fetch("member", 0)
    group.add("label", 2, 3)
    await group.next_commit()
    group.fetch("member", 3)
    group.add("job", 0, 6)  # all of the log, while it is known from offset 0 to 4
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert contents(group.tables["member"]) == [b"0", b"1", b"3"]
    assert contents(group.tables["job"]) == [b"0", b"1", b"3", b"4", b"5"]
    assert group.failures == []


async def test_what_goes_to_a_partition_of_another_group_is_left_to_be_fetched_there(group: Group) -> None:
    group.flows(partition=3)
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert group.log.records(("member-source", 3))
    assert group.tables["member"].is_empty()


async def test_a_group_that_is_not_alone_hands_nothing_over(tmp_path: Path) -> None:
    group = Group(tmp_path, is_alone=False)
    group.flows()
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    assert group.tables["member"].is_empty()
    group.fetch("member", 0)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert contents(group.tables["member"]) == [b"0", b"1"]
    for table in group.tables.values():
        table.close()


async def test_where_much_waits_nothing_more_is_handed_over(tmp_path: Path) -> None:
    group = Group(tmp_path, most=2)
    group.flows()
    group.begin()
    group.log.partitions["member-source", 2] += [(None, b"value")] * 4
    group.add("member", 0, 2)
    group.add("member", 2, 4)
    group.add("label", 0, 2)
    await group.next_commit()
    while group.lanes["member"].waiting.queued:
        await group.next_commit()
    # What was taken by then is committed with this, or before.
    group.add("label", 2, 3)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert group.log.records(("member-source", 2))[4:6] == [(b"0", b"label"), (b"1", b"label")]
    assert contents(group.tables["member"]) == [b"0", b"1", b"2", b"3"]
    for table in group.tables.values():
        table.close()


async def test_where_others_have_taken_the_offsets_it_is_taken_back_and_made_again(group: Group) -> None:
    group.flows()
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    group.log.partitions["member-source", 2].append((b"of another", b"value"))
    group.add("label", 2, 3)
    await asyncio.wait_for(group.opened.wait(), 10)
    assert group.log.taken_back == 1
    assert contents(group.tables["label"]) == contents(group.tables["member"]) == [b"0", b"1"]

    group.fetch("member", 2)
    await group.next_commit()
    group.add("label", 2, 3)
    await group.next_commit()
    # For a while it is not sure to be alone: this is fetched.
    assert contents(group.tables["member"]) == [b"0", b"1", b"3"]
    group.fetch("member", 6)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert group.log.records(("member-source", 2))[2:] == [(b"of another", b"value"), (b"2", b"label")]
    # Offsets 4 and 5 were taken back.
    assert contents(group.tables["member"]) == [b"0", b"1", b"3", b"6"]
    assert group.counts.interruptions == {OffsetsTakenError.__name__: 1}
    assert (group.reopened, group.failures) == (1, [])


async def test_after_some_transactions_it_is_alone_again(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_qa.streaming.group._WARY_TRANSACTIONS", 2)
    group.flows()
    group.begin()
    group.log.partitions["member-source", 2].append((b"of another", b"value"))
    group.add("label", 0, 1)
    await asyncio.wait_for(group.opened.wait(), 10)
    for start in (0, 1):
        group.add("label", start, start + 1)
        await group.next_commit()
        assert group.tables["member"].is_empty()
    group.fetch("member", 0)
    await group.next_commit()
    group.add("label", 2, 3)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    # That of another, and those of three transactions; the first was taken back.
    assert contents(group.tables["member"]) == [b"0", b"3", b"5", b"7"]


async def test_a_stage_that_fails_has_nothing_written(group: Group) -> None:
    group.flows()
    group.processes["job"].fails = ZeroDivisionError("a bug")
    group.begin()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.failed.wait(), 10)
    assert [type(error) for error in group.failures] == [ZeroDivisionError]
    assert group.log.writes == 0
    assert all(table.is_empty() for table in group.tables.values())
    assert group.lanes["label"].positions == {"label-source": 0}
    await group.group.stop(PATIENCE)


async def test_one_that_waits_for_a_model_in_the_middle_has_nothing_written(group: Group) -> None:
    group.flows()
    group.processes["member"].fails = ModelMissingError("model-5")
    group.begin()
    group.may_reopen.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.reopening.wait(), 10)
    assert (group.log.writes, group.models_awaited) == (0, ["model-5"])
    group.processes["member"].fails = None
    group.may_reopen.set()
    await asyncio.wait_for(group.opened.wait(), 10)
    group.add("label", 0, 2)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert contents(group.tables["label"]) == contents(group.tables["member"]) == [b"0", b"1"]
    assert group.failures == []


async def test_messages_of_all_lanes_keep_their_order_within_a_destination(group: Group) -> None:
    group.begin()
    group.add("label", 0, 3)
    await group.next_commit()
    group.add("label", 3, 5)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    sent = group.log.records(("label-output", 5))
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


async def test_damage_that_is_met_between_two_steps_is_mended_before_the_next(group: Group) -> None:
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    group.tables["label"].is_damaged = True  # as reading elsewhere leaves it
    group.group.wake()
    await asyncio.wait_for(group.opened.wait(), 10)
    assert not group.tables["label"].is_damaged
    assert group.counts.interruptions == {CorruptTableError.__name__: 1}
    await group.group.stop(PATIENCE)
    assert group.failures == []


async def test_a_table_is_not_written_where_it_is_not_known_whether_the_log_was(group: Group) -> None:
    """Not even if it was: only the changelog can say so."""
    group.begin()
    group.log.fails = OutcomeUnknownError("no answer")
    group.log.commits_first = True
    group.may_reopen.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.reopening.wait(), 10)
    assert group.log.records(("label-changelog", 2))
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


async def test_one_that_fails_again_before_anything_is_committed_waits_ever_longer_to_be_opened(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("stream_qa.streaming.group.asyncio.sleep", note)
    group.begin()
    for _ in range(2):
        group.log.fails = OutcomeUnknownError("nobody leads label-output-5")
        waits.clear()
        for _ in range(7):
            group.opened.clear()
            group.add("label", group.lanes["label"].positions["label-source"], 4 * (group.commits + 1))
            await asyncio.wait_for(group.opened.wait(), 10)
        assert [wait for wait in waits if wait] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
        group.log.fails = None
        group.add("label", group.lanes["label"].positions["label-source"], 4 * (group.commits + 1))
        await group.next_commit()
    await group.group.stop(PATIENCE)
    assert group.failures == []


async def test_one_that_waits_before_it_is_opened_again_can_be_stopped_at_once(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_qa.streaming.group.FIRST_WAIT_SECONDS", NEVER)
    monkeypatch.setattr("stream_qa.streaming.group.LONGEST_WAIT_SECONDS", NEVER)
    group.begin()
    group.log.fails = OutcomeUnknownError("nobody leads label-output-5")
    group.add("label", 0, 2)
    await asyncio.wait_for(group.opened.wait(), 10)
    group.log.waiting.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.log.waiting.wait(), 10)
    for _ in range(20):  # turns of the event loop
        await asyncio.sleep(0)
    assert group.counts.interruptions == {OutcomeUnknownError.__name__: 2}
    await asyncio.wait_for(group.group.stop(NEVER), 10)
    assert group.reopened == 1
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


async def test_transactions_follow_each_other_at_once_where_a_stage_leaves_records(tmp_path: Path) -> None:
    group = Group(tmp_path, pause=NEVER)
    group.processes["label"].most = 1
    group.begin()
    group.add("label", 0, 3)
    while group.commits < 3:
        await group.next_commit()
    await group.group.stop(PATIENCE)
    assert contents(group.tables["label"]) == [b"0", b"1", b"2"]
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
    assert (group.lanes["label"].is_open, group.lanes["label"].waiting.queued) == (False, 0)
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
    assert group.lanes["label"].waiting.queued == 0
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
