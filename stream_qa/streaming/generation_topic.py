"""The topic of generations: which were begun, and which of them serves."""

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from stream_qa.errors import RejectedError
from stream_qa.events import Decoder, Generation
from stream_qa.events.generation import SERVING
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming import single_topic

_log = logging.getLogger(__name__)

_decode = Decoder(Generation).decode


@dataclass
class Generations:
    """What the topic says."""

    begun: dict[int, Generation] = field(default_factory=dict)
    """By number, in their order."""
    serving: Generation | None = None
    """``None`` before the first switch: servers then serve the generation of their settings."""

    def take(self, records: Iterable[ConsumerRecord]) -> None:
        """Take records in, in their order."""
        records = list(records)
        for record, generation in zip(records, _decode([record.value for record in records]), strict=True):
            if isinstance(generation, RejectedError):
                _log.error("offset %d of %s is no generation: %s", record.offset, record.topic, generation)
            elif record.key == SERVING:
                self.serving = generation
            else:
                self.begun[generation.generation] = generation


async def begin(kafka: KafkaAccess, topic: str, generation: Generation) -> None:
    """Write that a generation was begun, or what is known of it now.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    key = str(generation.generation).encode()
    await single_topic.send(kafka, topic, key, generation.model_dump_json().encode())


async def serve(kafka: KafkaAccess, topic: str, generation: Generation) -> None:
    """Write that a generation is to serve from now on.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    await single_topic.send(kafka, topic, SERVING, generation.model_dump_json().encode())


async def generations(kafka: KafkaAccess, topic: str) -> AsyncGenerator[Generations, None]:
    """Yield what the topic says now, and then, twice a second, what it says since.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    known = Generations()
    async with aclosing(single_topic.followed(kafka, topic)) as followed:
        async for records in followed:
            known.take(records)
            yield known


async def read_generations(kafka: KafkaAccess, topic: str) -> Generations:
    """Return what the topic says now; see :func:`generations`."""
    async with aclosing(generations(kafka, topic)) as found:
        return await anext(found)
