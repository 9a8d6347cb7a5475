"""A group of lanes: what is sent and written, in which order, and what happens when sending fails."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import rocksdict

from stream_qa.errors import BrokerUnavailableError, OffsetGapError
from stream_qa.events import Message, Record, SourceRecord
from stream_qa.stages.state import Outcome
from stream_qa.streaming.batch_producer import Destination, Entry
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Chunk, Lane
from stream_qa.streaming.table import CHANGELOG_OFFSET, Table, position_key

STAGES = ("label", "member", "job")
PATIENCE = 10.0


class Broker:
    """Partitions in memory; what a group sends waits at the gate, and is refused while ``refuses`` is set."""

    def __init__(self) -> None:
        self.logs: defaultdict[Destination, list[Entry]] = defaultdict(list)
        self.sends: list[list[Destination]] = []
        self.tables_at_send: list[dict[str, list[bytes]]] = []
        self.tables: dict[str, Table] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()
        self.refuses: str | None = None

    async def send(self, messages: Mapping[Destination, Sequence[Entry]]) -> dict[Destination, int]:
        self.sends.append(sorted(messages))
        self.tables_at_send.append({stage: contents(table) for stage, table in self.tables.items()})
        self.waiting.set()
        await self.gate.wait()
        for topic, _ in messages:
            if self.refuses is not None and topic.startswith(self.refuses):
                raise ConnectionError(f"{topic} is refused")
        last = {}
        for destination, batch in messages.items():
            self.logs[destination] += batch
            if batch:
                last[destination] = len(self.logs[destination]) - 1
        return last


def contents(table: Table) -> list[bytes]:
    """Return the keys of a table but those that keep offsets."""
    return [key for key, _ in table.scan(b"\x01", b"\xff")]


class Process:
    """A stage that keeps every record under its offset and sends it on."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __call__(self, records: Sequence[SourceRecord]) -> Outcome:
        keys = [str(record.offset).encode() for record in records]
        return Outcome(
            dict.fromkeys(keys, b"value"), [Message(f"{self.stage}-output", key, self.stage.encode()) for key in keys]
        )


class Group:
    """Three lanes on real tables, their group, and what it reports."""

    def __init__(self, directory: Path) -> None:
        self.broker = Broker()
        cache = rocksdict.Cache(1 << 20)
        self.tables = {stage: Table(directory / stage, cache, 64 << 10) for stage in STAGES}
        self.broker.tables = self.tables
        self.lanes = {
            stage: Lane(stage, 2, (f"{stage}-source",), f"{stage}-changelog", table, Process(stage))
            for stage, table in self.tables.items()
        }
        self.failures: list[BaseException] = []
        self.failed = asyncio.Event()
        self.commits = 0
        self.committed = asyncio.Event()
        self.group = LaneGroup(
            list(self.lanes.values()),
            self.broker.send,
            lambda message: (message.topic, 5),
            most=100,
            committed=self.after_commit,
            failed=self.after_failure,
        )

    def after_commit(self) -> None:
        self.commits += 1
        self.committed.set()

    def after_failure(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    def begin(self) -> None:
        for stage, lane in self.lanes.items():
            lane.open({f"{stage}-source": 0})
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


async def test_outputs_are_sent_first_then_changelogs_then_the_tables_are_written(group: Group) -> None:
    group.begin()
    group.add("label", 0, 2)
    group.add("job", 0, 1)
    await group.next_commit()
    await group.group.stop(PATIENCE)

    assert group.broker.sends == [
        [("job-output", 5), ("label-output", 5)],
        [("job-changelog", 2), ("label-changelog", 2)],
    ]
    nothing: dict[str, list[bytes]] = {stage: [] for stage in STAGES}
    assert group.broker.tables_at_send == [nothing, nothing]
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
    log = group.broker.logs["label-changelog", 2]
    in_log = {key: value for key, value, _ in log}
    in_table = dict(table.scan(b"", b"\xff"))
    del in_table[CHANGELOG_OFFSET]
    assert in_log == in_table
    assert table.offset(CHANGELOG_OFFSET) == len(log) - 1
    assert table.offset(position_key("label-source")) == 4


async def test_messages_of_all_lanes_keep_their_order_within_a_destination(group: Group) -> None:
    group.begin()
    group.add("label", 0, 3)
    await group.next_commit()
    group.add("label", 3, 5)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    sent = group.broker.logs["label-output", 5]
    assert [key for key, _, _ in sent] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("refused", ["label-output", "label-changelog"])
async def test_a_failing_send_leaves_the_table_and_the_position_and_is_reported(group: Group, refused: str) -> None:
    group.begin()
    group.broker.refuses = refused
    group.add("label", 0, 2)
    await asyncio.wait_for(group.failed.wait(), 10)

    assert [str(error) for error in group.failures] == [f"{refused} is refused"]
    assert isinstance(group.failures[0], ConnectionError)
    assert list(group.tables["label"].scan(b"", b"\xff")) == []
    assert group.lanes["label"].positions == {"label-source": 0}
    assert group.commits == 0
    await group.group.stop(PATIENCE)
    assert not group.lanes["label"].is_open


async def test_what_failed_is_processed_again_when_the_lanes_are_opened_again(group: Group) -> None:
    group.begin()
    group.broker.refuses = "label-changelog"
    group.add("label", 0, 2)
    await asyncio.wait_for(group.failed.wait(), 10)
    await group.group.stop(PATIENCE)

    group.broker.refuses = None
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert contents(group.tables["label"]) == [b"0", b"1"]
    assert len(group.failures) == 1


async def test_a_hole_in_the_source_is_reported_and_nothing_is_sent(group: Group) -> None:
    group.begin()
    group.add("label", 3, 4)
    await asyncio.wait_for(group.failed.wait(), 10)
    assert isinstance(group.failures[0], OffsetGapError)
    assert group.broker.sends == []
    await group.group.stop(PATIENCE)


async def test_stopping_lets_the_commit_in_flight_end_and_forgets_the_rest(group: Group) -> None:
    group.begin()
    group.broker.gate.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.broker.waiting.wait(), 10)
    group.add("label", 2, 4)

    stopping = asyncio.create_task(group.group.stop(PATIENCE))
    for _ in range(20):  # turns of the event loop: nothing but the gate is waited for
        await asyncio.sleep(0)
    assert not stopping.done()
    group.broker.gate.set()
    await asyncio.wait_for(stopping, 10)

    assert contents(group.tables["label"]) == [b"0", b"1"]
    assert group.lanes["label"].positions == {"label-source": 2}
    assert (group.lanes["label"].is_open, group.lanes["label"].queued) == (False, 0)
    assert group.commits == 1
    assert group.failures == []


async def test_a_commit_that_does_not_end_while_stopping_is_a_failure(group: Group) -> None:
    group.begin()
    group.broker.gate.clear()
    group.add("label", 0, 2)
    await asyncio.wait_for(group.broker.waiting.wait(), 10)
    await group.group.stop(seconds=0.01)
    assert isinstance(group.failures[0], BrokerUnavailableError)
    assert contents(group.tables["label"]) == []


async def test_after_stopping_nothing_is_taken_in(group: Group) -> None:
    group.begin()
    await group.group.stop(PATIENCE)
    group.add("label", 0, 2)
    assert group.lanes["label"].queued == 0
    await group.group.stop(PATIENCE)


async def test_a_group_that_never_began_can_be_stopped(group: Group) -> None:
    await group.group.stop(PATIENCE)
    assert group.broker.sends == []


async def test_a_stopped_group_goes_on_where_it_was_when_it_is_started_again(group: Group) -> None:
    group.begin()
    group.add("label", 0, 2)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    group.lanes["label"].open(group.lanes["label"].positions)
    group.group.start()
    group.add("label", 2, 3)
    await group.next_commit()
    await group.group.stop(PATIENCE)
    assert contents(group.tables["label"]) == [b"0", b"1", b"2"]
    assert group.commits == 2
    assert group.failures == []
