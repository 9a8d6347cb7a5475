"""Opening groups of lanes: former owners are fenced before the state is read, and the inputs go on where it ends."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from aiokafka.errors import KafkaError

from stream_qa.errors import (
    BrokerUnavailableError,
    CorruptTableError,
    HangingTransactionError,
    OffsetGapError,
    StateError,
    TopicMissingError,
    TopicReplacedError,
)
from stream_qa.settings import Settings
from stream_qa.streaming.changelog import catch_up
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.group import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, LaneGroup, group_of
from stream_qa.streaming.metrics import Counts
from stream_qa.streaming.positions import UNKNOWN_TOPIC, Origin
from stream_qa.streaming.resuming import resume_at
from stream_qa.streaming.topic_check import check_topics, tombstones_kept

_log = logging.getLogger(__name__)

Place = tuple[str, int]
"""A source topic and a partition of it."""


class Source(Protocol):
    """What the lanes need of the consumer."""

    async def is_member(self) -> bool:
        """Whether the group still counts on this worker, asked now."""

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """Return the first offset of each place, and the one after its last."""

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has, as far as is known here."""

    def seek_lanes(self, offsets: Mapping[Place, int]) -> None:
        """Move to ``offsets``."""

    def pass_by(self, offsets: Mapping[Place, int]) -> None:
        """Move to ``offsets``, where that is further on."""


class Opening:
    """Opens groups.

    Parameters
    ----------
    settings
        The worker's settings.
    connections
        The worker's connections to the broker.
    counts
        Where it is told how far catching up is.
    """

    def __init__(self, settings: Settings, connections: Connections, counts: Counts) -> None:
        self._counts = counts
        self._settings = settings
        self._connections = connections
        self._tombstones_kept = tombstones_kept()
        self.partition_counts: Mapping[str, int] = {}
        """Of each topic, as when a group was opened last."""

    async def open(self, groups: Sequence[LaneGroup], source: Source) -> None:
        """Open groups as soon as the broker lets us, and has the topics as they must be: both can take a while.

        Raises
        ------
        StreamQAError, KafkaError
            It has not for as long as a session.
        """
        patience = time.monotonic() + self._settings.session_timeout_seconds
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                await self._open(groups, source)
            except (BrokerUnavailableError, KafkaError, OSError, CorruptTableError) as error:
                problem: Exception = error
                if not isinstance(error, KafkaError) or error.retriable:
                    patience = time.monotonic() + self._settings.session_timeout_seconds
            except (TopicMissingError, TopicReplacedError, OffsetGapError, HangingTransactionError) as error:
                problem = error
            else:
                return
            if time.monotonic() > patience:
                raise problem
            _log.warning("not ready yet, trying again in %.1f s: %s", wait, str(problem) or repr(problem))
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    async def _open(self, groups: Sequence[LaneGroup], source: Source) -> None:
        """Open groups: fence former owners, catch the tables up, take the positions from them, seek."""
        began = time.monotonic()
        self.partition_counts = await check_topics(self._settings)
        if not groups:
            return
        self._check_whole(groups)
        ids = dict.fromkeys(one for group in groups for one in (group.transactions, *group.fences))
        await asyncio.gather(*(one.initialise() for one in ids))
        topic_ids = await self._connections.topic_ids()
        lanes = [lane for group in groups for lane in group.lanes]
        count = await catch_up(lanes, self._settings.kafka, topic_ids, self._tombstones_kept, self._counts)
        bounds = await source.bounds([(topic, lane.partition) for lane in lanes for topic in lane.sources])
        positions = {
            lane: {
                topic: resume_at(
                    lane,
                    topic,
                    Origin(topic_ids.get(topic, UNKNOWN_TOPIC), self.partition_counts[topic]),
                    bounds[topic, lane.partition],
                )
                for topic in lane.sources
            }
            for lane in lanes
        }
        source.seek_lanes(
            {(topic, lane.partition): at.offset for lane, found in positions.items() for topic, at in found.items()}
        )
        for lane, found in positions.items():
            behind = {topic: bounds[topic, lane.partition][1] - at.offset for topic, at in found.items()}
            lane.open(found, topic_ids.get(lane.changelog, UNKNOWN_TOPIC), behind)
        seconds = time.monotonic() - began
        partitions = sorted(partition for group in groups for partition in group.partitions)
        said = "ready: partitions %s, %d changelog records restored in %.1f s"
        _log.info(said, partitions, count, seconds, extra={"partitions": partitions})

    def _check_whole(self, groups: Iterable[LaneGroup]) -> None:
        """Check that the groups are whole: else the rest of one would be committed by another worker, and fenced."""
        all_partitions = range(self.partition_counts[self._settings.topics.applications])
        for group in groups:
            numbers = {group_of(partition, self._settings.groups) for partition in group.partitions}
            whole = [partition for partition in all_partitions if group_of(partition, self._settings.groups) in numbers]
            if group.partitions != whole:
                raise StateError(f"the assignment has {group.partitions} of {whole}, which belong together")
