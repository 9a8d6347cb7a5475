"""What was fetched, taken with its exact range of offsets; and connections that are lost while they are written to."""

import asyncio
import time
from itertools import count

import pytest
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from stream_qa.events import Record
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming import fetched
from stream_qa.streaming.batches import Batches
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.lost_connections import expect_lost_connections
from stream_qa.streaming.transactions import Transactions

pytestmark = pytest.mark.kafka

_names = count()


async def new_place(broker: str) -> TopicPartition:
    """Create a topic of one partition."""
    name = f"fetched-{next(_names)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    await admin.close()
    return TopicPartition(name, 0)


async def test_ranges_have_no_holes_and_records_are_the_committed_ones(broker: str) -> None:
    """Committed, aborted and control records in turn: the positions pass all of them, the records are of the first."""
    place = await new_place(broker)
    name = place.topic
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed", auto_offset_reset="none")
    await consumer.start()
    await consumer.end_offsets([place])  # waits for a leader
    connections = Connections(KafkaAccess((broker,)), "test", [name])
    transactions = Transactions(connections, name, 30)
    await transactions.initialise()
    committed: dict[int, bytes] = {}
    began = int(time.time() * 1000)

    async def write(value: bytes) -> int:
        batches = Batches()
        for part in (b"a", b"b"):
            batches.add((name, 0), b"key", value + part, [("header", None)])
        return (await transactions.write(batches))[name, 0].last

    async def commit(value: bytes) -> None:
        last = await write(value)
        await transactions.commit()
        committed.update({last - 1: value + b"a", last: value + b"b"})

    async def abort(value: bytes) -> None:
        await write(value)
        await transactions.abort()

    for number in range(3):
        await commit(b"good %d" % number)
        await abort(b"bad %d" % number)
    await commit(b"last")
    await transactions.initialise()  # returns when the last one has its markers
    end = (await consumer.end_offsets([place]))[place]
    consumer.assign([place])
    consumer.seek(place, 0)
    position = 0
    records: list[Record] = []
    while position < end:
        if place not in consumer._fetcher._records:
            await fetched.wait(consumer._fetcher, 1.0)
            continue
        found = fetched.take(consumer._fetcher, place, fetched.record)
        if found is not None:
            assert found.start == position
            position = found.end
            records += found.records
    await consumer.stop()
    await connections.stop()
    assert position == end
    assert {record.offset: record.value for record in records} == committed
    first = records[0]
    assert first == Record(name, 0, 0, b"key", b"good 0a", [("header", None)], first.timestamp)
    assert first.timestamp >= began


async def test_what_is_passed_by_is_not_taken_though_it_is_fetched_already(broker: str) -> None:
    place = await new_place(broker)
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for number in range(5):
            await producer.send_and_wait(place.topic, b"%d" % number, partition=0)
    async with AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="none") as consumer:
        fetcher = consumer._fetcher
        fetched.pass_by(fetcher, place, 3)  # nothing is assigned
        consumer.assign([place])
        consumer.seek(place, 0)
        await fetched.wait(fetcher, 10.0)
        assert place in fetcher._records
        fetched.pass_by(fetcher, place, 3)
        fetched.pass_by(fetcher, place, 1)  # never back
        while place not in fetcher._records:
            await fetched.wait(fetcher, 10.0)
        found = fetched.take(fetcher, place, fetched.record)
    assert found is not None
    assert (found.start, [record.value for record in found.records]) == (3, [b"3", b"4"])


def test_writing_to_a_connection_that_was_just_lost_is_an_error_of_the_connection(broker: str) -> None:
    """On uvloop it is a RuntimeError, for which none of the library's tasks is prepared."""
    expect_lost_connections()

    async def lose_one() -> None:
        host, _, port = broker.partition(":")
        connection = await create_conn(host, int(port))
        connection._writer.transport.abort()
        await asyncio.sleep(0)
        # The transport is gone, and the library's reader has not noticed yet.
        assert connection._writer is not None
        with pytest.raises(KafkaConnectionError):
            await connection.send(MetadataRequest([]))
        assert not connection.connected()

    uvloop.run(lose_one())
