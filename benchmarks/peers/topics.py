"""The topics of a side: made, filled with a log, read."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from peers.log import Counts, Event
from peers.sides import Place, Side
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming.partitioner import partition_of
from stream_qa.topics import apply

INPUTS = ("applications", "engagements")
OUTPUTS = ("labels", "scores", "coefficients")
#: Bytes of records that are sent to a partition at once.
_BATCH_BYTES = 1 << 18


async def make_topics(side: Side, place: Place) -> None:
    """Create the topics that the side expects to find."""
    if side.own_topics:
        await apply(KafkaAccess((place.broker,)), place.prefix, partitions=place.partitions)
        return
    # Event times may be older than a broker keeps records by default.
    config = {"retention.ms": "-1"}
    topics = [
        NewTopic(f"{place.prefix}{name}", place.partitions, 1, topic_configs=config)
        for name in (*INPUTS, *OUTPUTS, _examples(side))
    ]
    compacted = {"cleanup.policy": "compact"}
    topics += [
        NewTopic(f"{place.prefix}{name}", place.partitions, 1, topic_configs=compacted) for name in side.changelogs
    ]
    admin = AIOKafkaAdminClient(bootstrap_servers=place.broker)
    await admin.start()
    try:
        await admin.create_topics(topics)
    finally:
        await admin.close()


async def delete_topics(place: Place) -> None:
    """Delete all topics of a side, its internal ones too."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.broker)
    await admin.start()
    try:
        await admin.delete_topics([name for name in await admin.list_topics() if place.prefix in name])
    finally:
        await admin.close()


async def write(place: Place, log: Sequence[Event]) -> None:
    """Write a log to the input topics, each partition in the log's order, and wait until the broker has it."""
    async with AIOKafkaProducer(bootstrap_servers=place.broker, max_batch_size=_BATCH_BYTES) as producer:
        batches: dict[tuple[str, int], Any] = {}
        sent = []
        for event in log:
            destination = event.topic, partition_of(event.key, place.partitions)
            batch = batches.get(destination)
            if batch is None or batch.append(key=event.key, value=event.value, timestamp=event.time) is None:
                if batch is not None:
                    topic, partition = destination
                    sent.append(await producer.send_batch(batch, f"{place.prefix}{topic}", partition=partition))
                batch = batches[destination] = producer.create_batch()
                batch.append(key=event.key, value=event.value, timestamp=event.time)
        for (name, number), batch in batches.items():
            sent.append(await producer.send_batch(batch, f"{place.prefix}{name}", partition=number))
        for acknowledged in sent:
            await acknowledged


class DeltaSeen(msgspec.Struct, gc=False):
    """What is looked at in a delta."""

    entity_kind: str
    entity_id: str
    base_version: int
    version: int
    change: bytes


decode_delta = msgspec.json.Decoder(DeltaSeen).decode


class Outputs:
    """Follows coefficients and scores of a side as a server would: committed records only. A context manager."""

    def __init__(self, place: Place) -> None:
        self.seen = Counter[str]()
        """Scores, and by kind of entity the steps that the deltas say were taken."""
        self._place = place
        self._consumer = committed_reader(place)

    async def __aenter__(self) -> Self:
        """Begin at the beginning."""
        await self._consumer.start()
        begin(self._consumer, self._place, "coefficients", "scores")
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._consumer.stop()

    def has(self, expected: Counts) -> bool:
        """Return whether all that is expected has been seen."""
        return (
            self.seen["score"] >= expected.scores
            and self.seen["member"] >= expected.member_steps
            and self.seen["job"] >= expected.job_steps
        )

    async def more(self) -> tuple[int, list[DeltaSeen]]:
        """Return how many records have come since, after a short wait at most, and the deltas among them."""
        records_seen = 0
        deltas = []
        for part, records in (await self._consumer.getmany(timeout_ms=50)).items():
            records_seen += len(records)
            if part.topic == f"{self._place.prefix}scores":
                self.seen["score"] += len(records)
            else:
                # Without a value it is a tombstone.
                deltas += [decode_delta(record.value) for record in records if record.value is not None]
        for delta in deltas:
            self.seen[delta.entity_kind] += delta.version - delta.base_version
        return records_seen, deltas


async def count(side: Side, place: Place, outputs: Outputs, log: Sequence[Event]) -> Counts:
    """Return what a side has made of a log, when it does no more."""
    while (await outputs.more())[0]:
        pass
    numbers = {}
    examples = _examples(side)
    consumer = committed_reader(place)
    await consumer.start()
    try:
        for name in ("labels", examples):
            ends = await consumer.end_offsets(begin(consumer, place, name))
            numbers[name] = 0
            while any([await consumer.position(part) < end for part, end in ends.items()]):
                numbers[name] += sum(map(len, (await consumer.getmany(timeout_ms=50)).values()))
    finally:
        await consumer.stop()
    seen = outputs.seen
    among = len(log) if side.examples_among_events else 0
    return Counts(
        labels=numbers["labels"],
        examples=numbers[examples] - among,
        scores=seen["score"],
        member_steps=seen["member"],
        job_steps=seen["job"],
    )


def _examples(side: Side) -> str:
    return "job-events" if side.examples_among_events else "examples"


def committed_reader(place: Place) -> AIOKafkaConsumer:
    """Return a consumer of committed records that is to be told where to begin."""
    return AIOKafkaConsumer(
        bootstrap_servers=place.broker,
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )


def begin(consumer: AIOKafkaConsumer, place: Place, *names: str) -> list[TopicPartition]:
    """Let a consumer read topics of a place from their beginnings; return their partitions."""
    partitions = [
        TopicPartition(f"{place.prefix}{name}", number) for name in names for number in range(place.partitions)
    ]
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)
    return partitions
