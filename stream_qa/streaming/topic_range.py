"""The records of a topic between two offsets of each partition, however many control records end it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream_qa.kafka_access import KafkaAccess
from stream_qa.topics import existing_counts

_POLL_MILLISECONDS = 200


@asynccontextmanager
async def reader(
    kafka: KafkaAccess, topic: str, isolation_level: str = "read_committed"
) -> AsyncIterator[AIOKafkaConsumer]:
    """Give a consumer of all partitions of a topic.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    count = (await existing_counts(kafka, [topic]))[topic]
    consumer = AIOKafkaConsumer(
        **kafka.options(),
        isolation_level=isolation_level,
        # Retention deletes while this reads: what is gone is gone.
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, partition) for partition in range(count)])
        yield consumer
    finally:
        await consumer.stop()


async def records_between(
    consumer: AIOKafkaConsumer, begin: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> AsyncGenerator[ConsumerRecord, None]:
    """Yield the records from ``begin`` to before ``ends``, of the partitions that ``ends`` names."""
    left = {place for place, end in ends.items() if begin[place] < end}
    consumer.pause(*consumer.assignment())
    for place in left:
        consumer.seek(place, begin[place])
    consumer.resume(*left)
    while left:
        for place, records in (await consumer.getmany(*left, timeout_ms=_POLL_MILLISECONDS)).items():
            for record in records:
                if record.offset < ends[place]:
                    yield record
        # The position is past the last record where a transaction's end or an aborted one follows.
        done = {place for place in left if await consumer.position(place) >= ends[place]}
        consumer.pause(*done)
        left -= done
