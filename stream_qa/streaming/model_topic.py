"""The topic of models: who has published which bundle, in one order."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from aiokafka import ConsumerRecord

from stream_qa.errors import RejectedError
from stream_qa.events import Decoder, PublishedModel
from stream_qa.streaming import single_topic

_log = logging.getLogger(__name__)

_decode = Decoder(PublishedModel).decode


class Numbered(NamedTuple):
    """A publication, with its number: its offset and 1, so that 0 is left for the model without one."""

    number: int
    model: PublishedModel


async def publish(bootstrap_servers: Sequence[str], topic: str, model: PublishedModel) -> int:
    """Publish a model; return its number.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    value = model.model_dump_json().encode()
    return 1 + await single_topic.send(bootstrap_servers, topic, model.version.encode(), value)


async def published(bootstrap_servers: Sequence[str], topic: str) -> AsyncGenerator[list[Numbered], None]:
    """Yield first all that is published, in order, and then, twice a second, what has come since: mostly nothing.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    async with aclosing(single_topic.followed(bootstrap_servers, topic)) as followed:
        async for records in followed:
            yield _numbered(records)


def _numbered(records: list[ConsumerRecord]) -> list[Numbered]:
    found = []
    for record, model in zip(records, _decode([record.value for record in records]), strict=True):
        if isinstance(model, RejectedError):
            _log.error("offset %d of %s is no model: %s", record.offset, record.topic, model)
        else:
            found.append(Numbered(record.offset + 1, model))
    return found
