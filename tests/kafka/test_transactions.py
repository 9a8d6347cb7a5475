"""Transactions on a real broker, by both of its protocols: all or nothing, once, and never by two owners."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream_qa.errors import BrokerUnavailableError, FencedError, OutcomeUnknownError, TransactionRefusedError
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming.batches import BATCH_BYTES, Batches, Destination, Written
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.transactions import Transactions

pytestmark = pytest.mark.kafka

_names = count()
PARTITIONS = 3
LARGEST = 3_000_000


class Topic:
    """A topic of one's own, and connections to its broker."""

    def __init__(self, broker: str, connections: Connections, name: str) -> None:
        self.broker, self.connections, self.name = broker, connections, name

    def transactions(self, transactional_id: str | None = None, timeout_seconds: float = 30) -> Transactions:
        return Transactions(self.connections, transactional_id or self.name, timeout_seconds)

    def batches(self, *values: bytes, partition: int = 0) -> Batches:
        batches = Batches()
        for value in values:
            batches.add((self.name, partition), b"key", value, [("header", b"1")])
        return batches

    async def read(self, partition: int = 0, *, settled: bool = True) -> list[ConsumerRecord]:
        """Return what a reader of committed records sees of a partition, once no transaction is open there.

        Where one stays open, ``settled`` must be false: what is seen at that moment.
        """
        place = TopicPartition(self.name, partition)
        async with reader(self.broker, "read_committed") as consumer, reader(self.broker, "read_uncommitted") as other:
            end = (await consumer.end_offsets([place]))[place]
            # A commit is acknowledged before its markers are in the partitions.
            while settled and end != (await other.end_offsets([place]))[place]:
                end = (await consumer.end_offsets([place]))[place]
            return await read_to(consumer, place, end)

    async def values(self, partition: int = 0, *, settled: bool = True) -> list[bytes]:
        return [record.value for record in await self.read(partition, settled=settled)]

    async def uncommitted_values(self, partition: int = 0) -> list[bytes]:
        place = TopicPartition(self.name, partition)
        async with reader(self.broker, "read_uncommitted") as consumer:
            end = (await consumer.end_offsets([place]))[place]
            return [record.value for record in await read_to(consumer, place, end)]


async def commit(transactions: Transactions, batches: Batches) -> dict[Destination, Written]:
    """Write and commit in one go."""
    written = await transactions.write(batches)
    await transactions.commit()
    return written


@asynccontextmanager
async def reader(broker: str, isolation_level: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Connect a consumer."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, isolation_level=isolation_level, auto_offset_reset="none")
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_to(consumer: AIOKafkaConsumer, place: TopicPartition, end: int) -> list[ConsumerRecord]:
    """Read a partition from its beginning."""
    consumer.assign([place])
    consumer.seek(place, 0)
    found: list[ConsumerRecord] = []
    while await consumer.position(place) < end:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found += records
    return found


@asynccontextmanager
async def topic_on(broker: str) -> AsyncIterator[Topic]:
    """Make a topic."""
    name = f"transactions-{next(_names)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs={"max.message.bytes": str(LARGEST)})])
    finally:
        await admin.close()
    async with reader(broker, "read_uncommitted") as consumer:
        # It waits until the partitions have a leader.
        await consumer.end_offsets([TopicPartition(name, number) for number in range(PARTITIONS)])
    connections = Connections(KafkaAccess((broker,)), "test", [name])
    await connections.start()
    try:
        yield Topic(broker, connections, name)
    finally:
        await connections.stop()


@pytest.fixture
async def topic(any_broker: str) -> AsyncIterator[Topic]:
    """Give a topic on a broker of each protocol."""
    async with topic_on(any_broker) as topic:
        yield topic


async def test_the_protocol_is_the_one_that_the_broker_offers(broker: str, classic_broker: str) -> None:
    async with topic_on(broker) as topic:
        transactions = topic.transactions()
        await transactions.initialise()
        assert transactions._producer is not None
        assert transactions._producer.epoch_a_transaction
    async with topic_on(classic_broker) as topic:
        transactions = topic.transactions()
        await transactions.initialise()
        assert transactions._producer is not None
        assert not transactions._producer.epoch_a_transaction


async def test_what_is_committed_is_read_and_the_offsets_are_those_of_the_log(topic: Topic) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    for number in range(3):
        batches = topic.batches(b"%d" % number, b"again")
        batches.add_all((topic.name, 1), {b"a": b"%d" % number, b"gone": None})
        written = await commit(transactions, batches)
        zero, one = await topic.read(0), await topic.read(1)
        assert written == {
            (topic.name, number): Written(found[-2].offset, found[-1].offset)
            for number, found in enumerate((zero, one))
        }
    assert [record.value for record in zero] == [b"0", b"again", b"1", b"again", b"2", b"again"]
    assert [(record.key, record.value) for record in one] == [(b"a", b"0"), (b"gone", None)] + [
        pair for number in (b"1", b"2") for pair in ((b"a", number), (b"gone", None))
    ]
    assert zero[0].headers == (("header", b"1"),)


async def test_nothing_is_read_before_all_of_it_is_committed(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    ending, may_end = asyncio.Event(), asyncio.Event()
    end = transactions._end

    async def wait_and_end(producer: Any, *, commits: bool) -> Any:  # noqa: ANN401
        ending.set()
        await may_end.wait()
        return await end(producer, commits=commits)

    monkeypatch.setattr(transactions, "_end", wait_and_end)
    committing = asyncio.create_task(commit(transactions, topic.batches(b"value")))
    await ending.wait()
    assert await topic.values(settled=False) == []
    assert await topic.uncommitted_values() == [b"value"]
    may_end.set()
    await committing
    assert await topic.values() == [b"value"]


async def test_what_does_not_fit_into_one_batch_is_written_in_several(topic: Topic) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    values = [b"%d" % number + b"." * (BATCH_BYTES // 3) for number in range(8)]
    written = await commit(transactions, topic.batches(*values))
    assert written == {(topic.name, 0): Written(0, len(values) - 1)}
    assert await topic.values() == values


async def test_a_record_larger_than_a_batch_is_a_batch_of_its_own(topic: Topic) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    values = [b"small", b"." * (2 * BATCH_BYTES), b"small again"]
    await commit(transactions, topic.batches(*values))
    assert await topic.values() == values


async def test_what_the_topic_will_never_take_is_refused_and_the_next_goes_through(topic: Topic) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    with pytest.raises(TransactionRefusedError, match="MessageSizeTooLargeError"):
        await commit(transactions, topic.batches(b"." * (LARGEST + 1)))
    await transactions.initialise()
    await commit(transactions, topic.batches(b"small"))
    assert await topic.values() == [b"small"]


async def test_what_is_written_one_after_the_other_is_one_transaction(topic: Topic) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    await commit(transactions, topic.batches(b"before"))
    first = await transactions.write(topic.batches(b"first"))
    # The end of a transaction is a record too.
    assert first == {(topic.name, 0): Written(2, 2)}
    assert await transactions.write(topic.batches(b"second", b"third")) == {(topic.name, 0): Written(3, 4)}
    assert await transactions.write(topic.batches(b"elsewhere", partition=1)) == {(topic.name, 1): Written(0, 0)}
    assert await topic.values(settled=False) == [b"before"]
    await transactions.commit()
    assert await topic.values() == [b"before", b"first", b"second", b"third"]
    assert await topic.values(1) == [b"elsewhere"]


async def test_what_is_taken_back_is_never_read_and_the_next_goes_through(topic: Topic) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    await transactions.write(topic.batches(b"taken back"))
    await transactions.abort()
    # Nobody waits for it.
    assert await topic.values() == []
    await commit(transactions, topic.batches(b"next"))
    await transactions.abort()  # there is nothing open
    await commit(transactions, topic.batches(b"and another"))
    assert await topic.values() == [b"next", b"and another"]


async def test_what_cannot_be_taken_back_is_left_to_the_next_owner(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    await transactions.write(topic.batches(b"left"))

    async def unanswered(_producer: Any, *, commits: bool) -> Any:  # noqa: ANN401, ARG001
        raise BrokerUnavailableError("the connection is gone")

    with monkeypatch.context() as patch:
        patch.setattr(transactions, "_end", unanswered)
        await transactions.abort()
    with pytest.raises(OutcomeUnknownError, match="not initialised"):
        await transactions.write(topic.batches(b"nothing before it is known"))
    await transactions.initialise()
    assert await topic.values() == []


async def test_whoever_initialises_the_id_fences_all_that_did_before(topic: Topic) -> None:
    former, newer = topic.transactions(), topic.transactions()
    await former.initialise()
    await commit(former, topic.batches(b"former"))
    await newer.initialise()
    with pytest.raises(FencedError):
        await commit(former, topic.batches(b"too late"))
    await commit(newer, topic.batches(b"newer"))
    assert await topic.values() == [b"former", b"newer"]
    with pytest.raises(OutcomeUnknownError, match="not initialised"):
        await commit(former, topic.batches(b"still too late"))


async def test_one_that_is_fenced_before_it_can_end_has_committed_nothing(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, newer = topic.transactions(), topic.transactions()
    await former.initialise()
    end = former._end

    async def fenced_and_end(producer: Any, *, commits: bool) -> Any:  # noqa: ANN401
        await newer.initialise()
        # Its transaction has ended by then: nobody waits for it, and what it wrote is nowhere.
        assert await topic.values() == []
        return await end(producer, commits=commits)

    monkeypatch.setattr(former, "_end", fenced_and_end)
    with pytest.raises(FencedError):
        await commit(former, topic.batches(b"too late"))
    await commit(newer, topic.batches(b"newer"))
    assert await topic.values() == [b"newer"]


async def test_an_answer_that_does_not_come_leaves_the_outcome_to_the_log(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    end = transactions._end

    async def end_and_lose_the_answer(producer: Any, *, commits: bool) -> Any:  # noqa: ANN401
        await end(producer, commits=commits)
        raise BrokerUnavailableError("the connection is gone")

    with monkeypatch.context() as patch:
        patch.setattr(transactions, "_end", end_and_lose_the_answer)
        with pytest.raises(OutcomeUnknownError, match="the connection is gone"):
            await commit(transactions, topic.batches(b"committed all the same"))
    with pytest.raises(OutcomeUnknownError, match="not initialised"):
        await commit(transactions, topic.batches(b"nothing before it is known"))
    await transactions.initialise()
    await commit(transactions, topic.batches(b"next"))
    assert await topic.values() == [b"committed all the same", b"next"]


async def test_one_that_is_interrupted_leaves_nothing_and_blocks_nobody_once_the_id_is_initialised(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions = topic.transactions()
    await transactions.initialise()
    ending = asyncio.Event()

    async def never(_producer: Any, *, commits: bool) -> Any:  # noqa: ANN401, ARG001
        ending.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(transactions, "_end", never)
        committing = asyncio.create_task(commit(transactions, topic.batches(b"interrupted")))
        await ending.wait()
        committing.cancel()
        await asyncio.wait([committing])
    await transactions.initialise()
    await commit(transactions, topic.batches(b"next"))
    assert await topic.values() == [b"next"]


async def test_sequence_numbers_that_run_out_begin_anew_with_the_id(classic_broker: str) -> None:
    async with topic_on(classic_broker) as topic:
        transactions = topic.transactions()
        await transactions.initialise()
        transactions._sequences[topic.name, 0] = 2**31 - 2
        with pytest.raises(OutcomeUnknownError, match="sequence numbers"):
            await commit(transactions, topic.batches(b"one", b"two"))
        await transactions.initialise()
        await commit(transactions, topic.batches(b"one", b"two"))
        assert await topic.values() == [b"one", b"two"]


async def test_many_ids_share_the_connections_and_do_not_disturb_each_other(topic: Topic) -> None:
    owners = [topic.transactions(f"{topic.name}-{number}") for number in range(32)]
    await asyncio.gather(*(owner.initialise() for owner in owners))

    async def commit_some(number: int) -> None:
        for _ in range(5):
            batches = topic.batches(b"%d" % number, partition=number % PARTITIONS)
            batches.add((topic.name, (number + 1) % PARTITIONS), None, b"%d" % number)
            await commit(owners[number], batches)

    await asyncio.gather(*(commit_some(number) for number in range(len(owners))))
    read = [value for partition in range(PARTITIONS) for value in await topic.values(partition)]
    assert sorted(map(int, read)) == sorted(number for number in range(len(owners)) for _ in range(10))
    assert len(topic.connections._connected()._conns) <= 6
