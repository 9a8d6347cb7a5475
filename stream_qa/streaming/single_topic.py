"""A topic of one partition that everybody reads whole and then follows: few records, in one order."""

from collections.abc import AsyncGenerator

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from stream_qa.kafka_access import KafkaAccess
from stream_qa.topics import existing_counts

_POLL_MILLISECONDS = 500


async def send(kafka: KafkaAccess, topic: str, key: bytes, value: bytes) -> int:
    """Write a record; return its offset.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    await existing_counts(kafka, [topic])
    producer = AIOKafkaProducer(**kafka.options(), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        sent = await producer.send_and_wait(topic, value, key=key, partition=0)
        return int(sent.offset)
    finally:
        await producer.stop()


async def followed(kafka: KafkaAccess, topic: str) -> AsyncGenerator[list[ConsumerRecord], None]:
    """Yield first all records that there are, in order, and then, twice a second, what has come since: mostly nothing.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    await existing_counts(kafka, [topic])
    consumer = AIOKafkaConsumer(**kafka.options(), auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        await consumer.start()
        place = TopicPartition(topic, 0)
        # Before anything is fetched: while nothing is there, a fetch holds the connection for half a second.
        await consumer._client.set_topics({topic})  # noqa: SLF001
        end = (await consumer.end_offsets([place]))[place]
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        first: list[ConsumerRecord] = []
        while await consumer.position(place) < end:
            first += await _next(consumer)
        yield first
        while True:
            yield await _next(consumer)
    finally:
        await consumer.stop()


async def _next(consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
    fetched = await consumer.getmany(timeout_ms=_POLL_MILLISECONDS)
    return [record for found in fetched.values() for record in found if record.value is not None]
