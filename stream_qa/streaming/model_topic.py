"""The topic of models: who has published which bundle, in one order."""

import logging
from collections.abc import AsyncGenerator
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream_qa.errors import RejectedError
from stream_qa.events import Decoder, PublishedModel
from stream_qa.kafka_access import KafkaAccess
from stream_qa.logs import at
from stream_qa.topics import existing_counts

_log = logging.getLogger(__name__)

_POLL_MILLISECONDS = 500
_decode = Decoder(PublishedModel).decode


class Numbered(NamedTuple):
    """A publication, with its number: its offset and 1, so that 0 is left for the model without one."""

    number: int
    model: PublishedModel


async def publish(kafka: KafkaAccess, topic: str, model: PublishedModel) -> int:
    """Publish a model; return its number.

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
        value = model.model_dump_json().encode()
        sent = await producer.send_and_wait(topic, value, key=model.version.encode(), partition=0)
        return int(sent.offset) + 1
    finally:
        await producer.stop()


async def published(kafka: KafkaAccess, topic: str) -> AsyncGenerator[list[Numbered], None]:
    """Yield first all that is published, in order, and then, twice a second, what has come since: mostly nothing.

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
        # Before anything is fetched: while nothing is published, a fetch holds the connection for half a second.
        await consumer._client.set_topics({topic})  # noqa: SLF001
        end = (await consumer.end_offsets([place]))[place]
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        first: list[Numbered] = []
        while await consumer.position(place) < end:
            first += await _next(consumer)
        yield first
        while True:
            yield await _next(consumer)
    finally:
        await consumer.stop()


async def _next(consumer: AIOKafkaConsumer) -> list[Numbered]:
    fetched = await consumer.getmany(timeout_ms=_POLL_MILLISECONDS)
    records = [record for found in fetched.values() for record in found if record.value is not None]
    found = []
    for record, model in zip(records, _decode([record.value for record in records]), strict=True):
        if isinstance(model, RejectedError):
            where = at(record.topic, record.partition, record.offset)
            _log.error("a record is no model: %s", model, extra=where)
        else:
            found.append(Numbered(record.offset + 1, model))
    return found
