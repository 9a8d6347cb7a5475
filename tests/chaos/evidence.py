"""What a round has left behind: on the broker for a reader of committed records, and on disk."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import rocksdict
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from ground import PARTITIONS, Ground

from chaos.log import Delivery
from chaos.server import Held
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import Pipeline, build_pipeline
from stream_qa.topics import partition_counts

Records = Mapping[int, Sequence[ConsumerRecord]]
Table = Mapping[bytes, bytes]
STAGES = ("label", "member", "job", "notify")
FRESH = "fresh"


@dataclass(frozen=True)
class Evidence:
    """Everything that the invariants are about."""

    settings: Settings
    pipeline: Pipeline
    delivered: Sequence[Delivery]
    """What the producer knows to be on the broker."""
    topics: Mapping[str, Records]
    """All topics as a reader of committed records sees them."""
    restored: Mapping[str, Table]
    """What a worker without local state restored, by ``<stage>-<partition>``."""
    kept: Mapping[str, Mapping[str, Table]]
    """What is left in each worker's data directory."""
    not_readable: Mapping[tuple[str, int], int]
    """Records behind an open transaction, by topic and partition, where there are any."""
    followed: Held
    """What a server held that had followed the coefficients all the time."""

    def records(self, topic: str) -> list[ConsumerRecord]:
        """Return a topic's records, partition after partition."""
        return [record for records in self.topics[topic].values() for record in records]

    def changelog(self, stage: str) -> Records:
        """Return the changelog of a stage's tables."""
        return self.topics[getattr(self.settings.topics, f"{stage}_changelog")]


def collect(ground: Ground, delivered: Sequence[Delivery], directories: Sequence[Path], followed: Held) -> Evidence:
    """Look at everything, when no worker runs any more.

    Parameters
    ----------
    ground
        The topics, and the workers' settings.
    delivered
        What went in.
    directories
        The workers' data directories; ``FRESH`` is that of a worker which began without local state, at the end.
    followed
        What a server held at the end.
    """
    settings = ground.settings
    topics = {topic: asyncio.run(ground.read(topic)) for topic in settings.topics.all()}
    return Evidence(
        settings=settings,
        pipeline=build_pipeline(settings),
        delivered=delivered,
        topics=topics,
        restored=read_tables(ground.directory / FRESH),
        kept={directory.name: read_tables(directory) for directory in directories if directory.name != FRESH},
        not_readable=asyncio.run(_not_readable(settings)),
        followed=followed,
    )


def read_tables(data_directory: Path) -> dict[str, Table]:
    """Return the tables in a worker's data directory."""
    found: dict[str, Table] = {}
    for stage in STAGES:
        for partition in range(PARTITIONS):
            path = data_directory / "tables" / f"{stage}-{partition}"
            if path.exists():
                options = rocksdict.Options(raw_mode=True)
                database = rocksdict.Rdict(str(path), options, access_type=rocksdict.AccessType.read_only())
                found[path.name] = cast("dict[bytes, bytes]", dict(database.items()))
                database.close()
    return found


async def _not_readable(settings: Settings) -> dict[tuple[str, int], int]:
    """Return how many records of each partition are behind a transaction that nobody has ended."""
    counts = await partition_counts(settings.kafka, settings.topics.all())
    places = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count or 0)]
    ends = []
    for isolation_level in ("read_committed", "read_uncommitted"):
        consumer = AIOKafkaConsumer(
            **settings.kafka.options(), isolation_level=isolation_level, auto_offset_reset="none"
        )
        await consumer.start()
        try:
            ends.append(await consumer.end_offsets(places))
        finally:
            await consumer.stop()
    committed, all_ = ends
    return {tuple(place): all_[place] - committed[place] for place in all_ if all_[place] != committed[place]}
