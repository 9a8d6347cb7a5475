"""The topic of models: who has published which bundle, in one order."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from aiokafka import ConsumerRecord

from stream_qa.errors import RejectedError
from stream_qa.events import Decoder, PublishedModel
from stream_qa.kafka_access import KafkaAccess
from stream_qa.logs import at
from stream_qa.streaming import single_topic

_log = logging.getLogger(__name__)

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
    value = model.model_dump_json().encode()
    return 1 + await single_topic.send(kafka, topic, model.version.encode(), value)


async def published(kafka: KafkaAccess, topic: str) -> AsyncGenerator[list[Numbered], None]:
    """Yield first all that is published, in order, and then, twice a second, what has come since: mostly nothing.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    async with aclosing(single_topic.followed(kafka, topic)) as followed:
        async for records in followed:
            yield _numbered(records)


def _numbered(records: list[ConsumerRecord]) -> list[Numbered]:
    found = []
    for record, model in zip(records, _decode([record.value for record in records]), strict=True):
        if isinstance(model, RejectedError):
            where = at(record.topic, record.partition, record.offset)
            _log.error("a record is no model: %s", model, extra=where)
        else:
            found.append(Numbered(record.offset + 1, model))
    return found
