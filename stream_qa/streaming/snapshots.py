"""Snapshots on demand: what the learners' tables hold, by their changelogs, published in full."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from itertools import chain
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer, ConsumerRecord

from stream_qa.coefficients import entity_key
from stream_qa.events import Message
from stream_qa.kafka_access import KafkaAccess
from stream_qa.learning.entity import DIMENSION, LAYOUT, entity_of, entity_type, unpack_layout, unpack_many
from stream_qa.learning.whitening import WHITENINGS, Whitenings
from stream_qa.settings import Settings
from stream_qa.stages.guarded_publishing import for_any_reason, held_by_reason, held_key, is_held_key
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import Pipeline
from stream_qa.streaming.topic_range import reader, records_between

_ENTITIES = 1_000
_OF_THE_TABLE = (LAYOUT, DIMENSION, WHITENINGS)

Table = dict[bytes, bytes]


async def publish_snapshots(settings: Settings, pipeline: Pipeline, keys: Collection[bytes] | None = None) -> int:
    """Publish a snapshot of every entity, or of those with ``keys``, as it is now; return how many there were.

    Workers may run meanwhile: servers with newer coefficients skip these, and the deltas on top of them are on their
    topic. All tables of a stage are held in memory.

    Parameters
    ----------
    settings
        Those of the workers.
    pipeline
        Set up from them.
    keys
        Entities, by their keys on the coefficient topics.

    Raises
    ------
    TopicMissingError
        A changelog does not exist.
    BrokerUnavailableError
        No broker answers.
    StateFormatError, RuleMismatchError, ModelChangedError
        The settings are not those of the workers.
    """
    topics = settings.topics
    stages: tuple[tuple[LearnStage[Any], str], ...] = (
        (pipeline.member, topics.member_changelog),
        (pipeline.job, topics.job_changelog),
    )
    published = 0
    for stage, changelog in stages:
        tables = await _read(settings.kafka, changelog)
        async with _producer(settings.kafka) as producer:
            for snapshots in chain.from_iterable(snapshots_of(stage, table, keys) for table in tables):
                sent = [await producer.send(snapshot.topic, snapshot.value, snapshot.key) for snapshot in snapshots]
                await asyncio.gather(*sent)
                published += len(snapshots)
    return published


@asynccontextmanager
async def _producer(kafka: KafkaAccess) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**kafka.options(), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def _read(kafka: KafkaAccess, changelog: str) -> list[Table]:
    """Return what a learner's changelog says of entities and of the table, by partition."""
    async with reader(kafka, changelog) as consumer:
        places = sorted(consumer.assignment())
        begin, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        tables: list[Table] = [{} for _ in places]
        async with aclosing(records_between(consumer, begin, ends)) as records:
            async for record in records:
                _fold(tables[record.partition], record)
        return tables


def _fold(table: Table, record: ConsumerRecord) -> None:
    if record.key in _OF_THE_TABLE or entity_of(record.key) is not None or is_held_key(record.key):
        if record.value is None:
            table.pop(record.key, None)
        else:
            table[record.key] = record.value


def snapshots_of(
    stage: LearnStage[Any], table: Mapping[bytes, bytes], keys: Collection[bytes] | None = None
) -> Iterator[list[Message]]:
    """Yield the snapshots of a table's entities, or of those with ``keys``, some at a time.

    Not of those that are held back.
    """
    rule = stage.effect.rule
    dimension = unpack_layout(rule, table.get(LAYOUT), table.get(DIMENSION))
    if dimension is None:
        return
    whitenings = Whitenings.unpack(table.get(WHITENINGS), stage.effect.whitening(dimension))
    found = [
        (entity_id, record)
        for key, record in table.items()
        if (entity_id := entity_of(key)) is not None and held_key(entity_id) not in table
    ]
    if keys is not None:
        found = [each for each in found if entity_key(stage.effect.kind, each[0]) in keys]
    for start in range(0, len(found), _ENTITIES):
        ids, records = zip(*found[start : start + _ENTITIES], strict=True)
        entities = unpack_many(entity_type(rule, dimension), records)
        held = for_any_reason(held_by_reason(stage.guard, entities, whitenings))
        shown = np.flatnonzero(~held)
        yield stage.publisher.snapshots_of([ids[row] for row in shown.tolist()], entities[shown], whitenings)
