"""All lanes of a worker: opened when partitions are assigned, dropped when they are taken away."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import rocksdict

from stream_qa.errors import BrokerUnavailableError, StateError, TopicMissingError
from stream_qa.events import Message
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import Pipeline
from stream_qa.streaming.batch_producer import BatchProducer, Destination
from stream_qa.streaming.changelog import catch_up
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Chunk, Lane
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.table import Table, position_key
from stream_qa.streaming.topic_check import check_topics

_log = logging.getLogger(__name__)

#: Records that may wait in a lane, in chunks of its commits: enough that it never runs dry, few enough for memory.
_QUEUED_CHUNKS = 3
_RETRY_SECONDS = 0.5

Place = tuple[str, int]
"""A source topic and a partition of it."""


class Lanes:
    """Carries chunks to the stages and what they make of them back to the broker.

    Parameters
    ----------
    settings
        The worker's settings.
    pipeline
        The stages.
    failed
        Called with what went wrong where going on would be wrong.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline, failed: Callable[[BaseException], None]) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._failed = failed
        self._cache = rocksdict.Cache(settings.state_cache_bytes)
        self._producer = BatchProducer(settings.bootstrap_servers, settings.app_id)
        self._groups: dict[int, LaneGroup] = {}
        self._lanes: dict[Place, Lane] = {}
        self._partition_counts: Mapping[str, int] = {}
        # Assignments follow each other quickly in a rebalance: one is finished before the next begins.
        self._changing = asyncio.Lock()
        self.room = asyncio.Event()
        """Set when a lane can take more than before."""

    @property
    def source_topics(self) -> tuple[str, ...]:
        """The topics that lanes read."""
        topics = self._settings.topics
        return topics.applications, topics.engagements, topics.labels, topics.examples

    def session(self, place: Place) -> int | None:
        """Return the session in which a place may be read now; ``None`` while it may not."""
        lane = self._lanes.get(place)
        if lane is None or not lane.is_open or lane.queued >= _QUEUED_CHUNKS * self._settings.chunk_records:
            return None
        return lane.session

    def position(self, place: Place) -> int | None:
        """Return the committed next offset of a place; ``None`` where it is not read here, or not yet."""
        lane = self._lanes.get(place)
        return None if lane is None else lane.positions.get(place[0])

    def places(self) -> list[Place]:
        """Return the places that are read here."""
        return list(self._lanes)

    def add(self, chunk: Chunk) -> None:
        """Queue a chunk for its stage."""
        lane = self._lanes.get((chunk.topic, chunk.partition))
        if lane is not None:
            self._groups[lane.partition].add(lane, chunk)

    async def restore(
        self,
        assigned: Iterable[Place],
        seek: Callable[[Mapping[Place, int | None]], Awaitable[Mapping[Place, int]]],
    ) -> None:
        """Make the lanes of ``assigned`` ready and open them; close all others.

        Parameters
        ----------
        assigned
            The source partitions that are this worker's from now on.
        seek
            Moves the consumer to the given offsets, ``None`` being the beginning, and returns where it is.

        Raises
        ------
        StateError
            The assignment tears lanes apart that belong together, or a table cannot be opened.
        """
        async with self._changing:
            started = time.monotonic()
            await self._stop_groups()
            self._partition_counts = await self._check_topics()
            self._take_over(set(assigned))
            await self._producer.start()
            lanes = [lane for group in self._groups.values() for lane in group.lanes]
            if not lanes:
                return
            count = await catch_up(lanes, self._settings.bootstrap_servers)
            positions = await seek(
                {
                    (topic, lane.partition): lane.table.offset(position_key(topic))
                    for lane in lanes
                    for topic in lane.sources
                }
            )
            for lane in lanes:
                lane.open({topic: positions[topic, lane.partition] for topic in lane.sources})
            for group in self._groups.values():
                group.start()
            self.room.set()
            seconds = time.monotonic() - started
            _log.info(
                "ready: partitions %s, %d changelog records restored in %.1f s", sorted(self._groups), count, seconds
            )

    async def pause(self) -> None:
        """Let the commits in flight end and take in nothing more: the partitions may be another worker's soon."""
        async with self._changing:
            await self._stop_groups()

    async def close(self) -> None:
        """End: commit what is in flight, close the tables, disconnect."""
        async with self._changing:
            await self._stop_groups()
            self._take_over(set())
            await self._producer.stop()

    async def _check_topics(self) -> dict[str, int]:
        """Check them again, as they may have changed, with patience: brokers are busy in a rebalance."""
        deadline = time.monotonic() + self._settings.session_timeout_seconds
        while True:
            try:
                return await check_topics(self._settings)
            except (BrokerUnavailableError, TopicMissingError) as error:
                if time.monotonic() > deadline:
                    raise
                _log.warning("looking at the topics again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _stop_groups(self) -> None:
        seconds = self._settings.session_timeout_seconds
        await asyncio.gather(*(group.stop(seconds) for group in self._groups.values()))

    def _take_over(self, assigned: set[Place]) -> None:
        """Open the tables of the assigned partitions, close those of all others."""
        partitions = {partition for _, partition in assigned}
        whole = {(topic, partition) for topic in self.source_topics for partition in partitions}
        if whole != assigned:
            raise StateError(f"the assignment lacks {sorted(whole - assigned)}: lanes of a partition belong together")
        for partition in self._groups.keys() - partitions:
            for lane in self._groups.pop(partition).lanes:
                lane.table.close()
        for partition in sorted(partitions - self._groups.keys()):
            self._groups[partition] = LaneGroup(
                self._open(partition),
                self._producer.send,
                self._destination,
                most=self._settings.chunk_records,
                committed=self.room.set,
                failed=self._failed,
            )
        self._lanes = {
            (topic, lane.partition): lane
            for group in self._groups.values()
            for lane in group.lanes
            for topic in lane.sources
        }

    def _open(self, partition: int) -> list[Lane]:
        """Return the lanes of a partition, in the order of the flow."""
        topics, stages = self._settings.topics, self._pipeline
        label, member, job = (self._table(f"{stage}-{partition}") for stage in ("label", "member", "job"))
        return [
            Lane(
                stage="label",
                partition=partition,
                sources=(topics.applications, topics.engagements),
                changelog=topics.label_changelog,
                table=label,
                process=lambda records: stages.label.process(partition, records, label, job),
            ),
            Lane(
                stage="member",
                partition=partition,
                sources=(topics.labels,),
                changelog=topics.member_changelog,
                table=member,
                process=lambda records: stages.member.process(partition, records, member),
            ),
            Lane(
                stage="job",
                partition=partition,
                sources=(topics.examples,),
                changelog=topics.job_changelog,
                table=job,
                process=lambda records: stages.job.process(partition, records, job),
            ),
        ]

    def _table(self, name: str) -> Table:
        path = self._settings.data_directory / "tables" / name
        return Table(path, self._cache, self._settings.state_write_buffer_bytes)

    def _destination(self, message: Message) -> Destination:
        """Say to which partition a message goes."""
        return message.topic, partition_of(message.key, self._partition_counts[message.topic])
