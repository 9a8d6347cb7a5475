"""Catching a table up with its changelog on a real broker: what it takes over, and when it begins anew."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
import rocksdict
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaConnectionError
from damaged_tables import damage_values

from stream_qa.errors import CorruptTableError, HangingTransactionError, TopicReplacedError
from stream_qa.events.fields import MAX_FEATURES
from stream_qa.kafka_access import KafkaAccess
from stream_qa.learning import Window
from stream_qa.learning.entity import entity_key, entity_type
from stream_qa.stages.state import Changes, Outcome
from stream_qa.streaming.batches import Batches
from stream_qa.streaming.changelog import catch_up
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.metrics import Counts
from stream_qa.streaming.positions import CHANGELOG_MARK, Mark
from stream_qa.streaming.table import Table
from stream_qa.streaming.transactions import Transactions
from stream_qa.topics import load_declarations

pytestmark = pytest.mark.kafka

WEEK = 7 * 24 * 60 * 60 * 1000
_names = count()


class Changelog:
    """A changelog, its writer, and a lane whose table follows it."""

    def __init__(self, broker: str, name: str, table: Table) -> None:
        self.broker, self.name = broker, name
        self.connections = Connections(KafkaAccess((broker,)), "test", [name])
        self.writer = Transactions(self.connections, name, 30)
        self.counts = Counts("dead-letters")
        self.lane = Lane("member", 0, (), name, table, lambda _records, _state: Outcome({}, []))

    async def make(self, config: Mapping[str, str] | None = None) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self.name, 1, 1, topic_configs=config)])
        finally:
            await admin.close()
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker)
        await consumer.start()
        try:
            await consumer.end_offsets([TopicPartition(self.name, 0)])  # waits for a leader
        finally:
            await consumer.stop()
        await self.writer.initialise()

    async def write(self, changes: dict[bytes, bytes | None]) -> int:
        """Commit changes; return the offset of the last."""
        batches = Batches()
        batches.add_all((self.name, 0), changes)
        written = await self.writer.write(batches)
        await self.writer.commit()
        return written[self.name, 0].last

    async def catch_up(self) -> int:
        """Do as a worker does."""
        await self.writer.initialise()
        return await catch_up(
            [self.lane], KafkaAccess((self.broker,)), await self.connections.topic_ids(), WEEK, self.counts
        )

    def contents(self) -> dict[bytes, bytes]:
        items = dict(self.lane.table.scan(b"", b"\xff"))
        items.pop(CHANGELOG_MARK, None)
        return items


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with closing(Table(tmp_path / "table", rocksdict.Cache(1 << 20), 64 << 10)) as table:
        yield table


@pytest.fixture
async def changelog(broker: str, table: Table) -> AsyncIterator[Changelog]:
    changelog = Changelog(broker, f"changelog-{next(_names)}", table)
    await changelog.make()
    yield changelog
    await changelog.connections.stop()


async def test_an_empty_changelog_makes_an_empty_table(changelog: Changelog) -> None:
    assert await changelog.catch_up() == 0
    assert changelog.contents() == {}


async def test_a_table_takes_over_what_it_lacks_and_no_more(changelog: Changelog) -> None:
    await changelog.write({b"a": b"1", b"b": b"1", b"c": b"1"})
    last = await changelog.write({b"a": b"2", b"b": None})
    assert await changelog.catch_up() == 5
    assert (changelog.counts.restored, changelog.counts.restoring) == (5, 0)
    assert changelog.contents() == {b"a": b"2", b"c": b"1"}
    mark = changelog.lane.table.mark()
    assert mark is not None
    assert mark.offset >= last
    assert mark.topic_id == (await changelog.connections.topic_ids())[changelog.name]

    assert await changelog.catch_up() == 0
    await changelog.write({b"c": None, b"d": b"1"})
    assert await changelog.catch_up() == 2
    assert changelog.contents() == {b"a": b"2", b"d": b"1"}


@pytest.mark.parametrize("declared", ["member-changelog", "job-changelog"])
async def test_the_largest_records_of_learners_are_written_and_read(broker: str, table: Table, declared: str) -> None:
    """Those of the window, which keeps a matrix of the features: larger than what is asked for at once."""
    changelog = Changelog(broker, f"changelog-{next(_names)}", table)
    [config] = [topic.config for topic in load_declarations() if topic.name == declared]
    await changelog.make(config)
    size = entity_type(Window(time_constant=1.0), 1 + MAX_FEATURES).dtype.itemsize
    records = {entity_key(f"member-{number}"): bytes([number]) * size for number in range(3)}
    await changelog.write({**records})
    assert await changelog.catch_up() == 3
    assert changelog.contents() == records
    await changelog.connections.stop()


async def test_what_was_never_committed_is_no_state(changelog: Changelog) -> None:
    await changelog.write({b"a": b"1"})
    batches = Batches()
    batches.add_all((changelog.name, 0), {b"a": b"2", b"b": b"2"})
    await changelog.writer.write(batches)
    assert await changelog.catch_up() == 1
    assert changelog.contents() == {b"a": b"1"}
    await changelog.write({b"c": b"1"})
    assert await changelog.catch_up() == 1
    assert changelog.contents() == {b"a": b"1", b"c": b"1"}


async def test_a_transaction_that_hangs_is_not_passed_over(changelog: Changelog) -> None:
    """All that could be open were ended by the initialisation, so one that still is was ended elsewhere."""
    await changelog.write({b"a": b"1"})
    hanging = Transactions(changelog.connections, f"{changelog.name}-hanging", 30)
    await hanging.initialise()
    batches = Batches()
    batches.add_all((changelog.name, 0), {b"b": b"1"})
    await hanging.write(batches)
    with pytest.raises(HangingTransactionError, match="hangs at"):
        await changelog.catch_up()
    assert changelog.contents() == {}
    await hanging.initialise()
    assert await changelog.catch_up() == 1
    assert changelog.contents() == {b"a": b"1"}


@pytest.mark.parametrize("offset", [1_000, -2])
async def test_a_table_outside_the_changelog_is_built_anew(
    changelog: Changelog, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    await changelog.write({b"a": b"1"})
    topic_id = (await changelog.connections.topic_ids())[changelog.name]
    changelog.lane.table.store({b"never": b"there"}, Mark(offset, round(time.time() * 1000), topic_id))
    assert await changelog.catch_up() == 1
    assert changelog.contents() == {b"a": b"1"}
    assert "outside the changelog" in caplog.text


async def test_a_table_below_where_the_changelog_begins_is_built_anew(changelog: Changelog) -> None:
    await changelog.write({b"a": b"1", b"b": b"1"})
    assert await changelog.catch_up() == 2
    last = await changelog.write({b"c": b"1"})
    await changelog.write({b"d": b"1"})
    admin = AIOKafkaAdminClient(bootstrap_servers=changelog.broker)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(changelog.name, 0): RecordsToDelete(before_offset=last + 1)})
    finally:
        await admin.close()
    assert await changelog.catch_up() == 1
    assert changelog.contents() == {b"d": b"1"}


@pytest.mark.parametrize(("age", "rebuilt"), [(WEEK + 60_000, True), (WEEK - 60_000, False)])
async def test_a_table_older_than_the_deletions_that_are_kept_is_built_anew(
    changelog: Changelog, age: int, rebuilt: bool
) -> None:
    """What was deleted since may have left the changelog without a trace."""
    await changelog.write({b"a": b"1"})
    assert await changelog.catch_up() == 1
    table = changelog.lane.table
    mark = table.mark()
    assert mark is not None
    table.store({b"deleted since": b"1"}, mark._replace(written_at=mark.written_at - age))
    # Nothing has been written since, so nothing can have been deleted.
    assert await changelog.catch_up() == 0
    assert b"deleted since" in changelog.contents()

    await changelog.write({b"b": b"1"})
    assert await changelog.catch_up() == (2 if rebuilt else 1)
    assert (b"deleted since" in changelog.contents()) is not rebuilt
    assert changelog.contents().items() >= {b"a": b"1", b"b": b"1"}.items()


async def test_a_catch_up_that_is_cut_short_leaves_the_table_as_old_as_it_was(
    changelog: Changelog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was deleted further on is still in it, and the changelog may forget that before it is read on."""
    await changelog.write({b"a": b"1"})
    await changelog.catch_up()
    table = changelog.lane.table
    mark = table.mark()
    assert mark is not None
    old = mark._replace(written_at=mark.written_at - WEEK + 60_000)
    table.store({}, old)
    last = await changelog.write({b"%d" % number: bytes(800_000) for number in range(8)})  # more than one fetch has
    store = table.store

    def store_once(changes: Changes, mark: Mark) -> None:
        store(changes, mark)
        raise KafkaConnectionError("the broker went away")

    with monkeypatch.context() as patch:
        patch.setattr(table, "store", store_once)
        with pytest.raises(KafkaConnectionError):
            await changelog.catch_up()
    cut_short = table.mark()
    assert cut_short is not None
    assert mark.offset < cut_short.offset < last
    assert cut_short.written_at == old.written_at

    await changelog.catch_up()
    caught_up = table.mark()
    assert caught_up is not None
    assert caught_up.offset >= last
    assert caught_up.written_at >= mark.written_at


async def test_a_table_of_another_version_is_built_anew(changelog: Changelog) -> None:
    await changelog.write({b"a": b"1"})
    changelog.lane.table.apply({b"old": b"1", CHANGELOG_MARK: bytes(8)})
    assert await changelog.catch_up() == 1
    assert changelog.contents() == {b"a": b"1"}


async def test_a_table_that_has_met_damage_is_built_anew(changelog: Changelog, tmp_path: Path) -> None:
    await changelog.write({b"%d" % number: b"%d" % number * 200 for number in range(2_000)})
    await changelog.catch_up()
    whole = changelog.contents()
    changelog.lane.table.close()
    damage_values(tmp_path / "table")
    changelog.lane.table._open()
    with pytest.raises(CorruptTableError):
        changelog.contents()
    assert await changelog.catch_up() == len(whole)
    assert changelog.contents() == whole


async def test_a_changelog_that_was_made_anew_is_refused(changelog: Changelog) -> None:
    await changelog.write({b"a": b"1"})
    await changelog.catch_up()
    admin = AIOKafkaAdminClient(bootstrap_servers=changelog.broker)
    await admin.start()
    try:
        await admin.delete_topics([changelog.name])
    finally:
        await admin.close()
    again = Changelog(changelog.broker, changelog.name, changelog.lane.table)
    await again.make()
    await again.write({b"b": b"1"})
    await again.write({b"c": b"1"})
    try:
        with pytest.raises(TopicReplacedError, match="was made anew"):
            await again.catch_up()
    finally:
        await again.connections.stop()
