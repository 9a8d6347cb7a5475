"""Catching tables up with their changelogs: what is on the broker is the truth, the local copy a cache."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED

from stream_qa.errors import HangingTransactionError, TopicReplacedError
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming import fetched
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.metrics import Counts
from stream_qa.streaming.positions import UNKNOWN_TOPIC, Mark

_log = logging.getLogger(__name__)

#: What is not committed is no state.
ISOLATION_LEVEL = "read_committed"
_PROGRESS_SECONDS = 5.0
_FETCH_BYTES = 4 << 20
_FETCH_WAIT_MILLISECONDS = 25
_LOOK_UP_SECONDS = 1.0


async def catch_up(
    lanes: Sequence[Lane],
    kafka: KafkaAccess,
    topic_ids: Mapping[str, bytes],
    tombstones_kept: int,
    counts: Counts,
) -> int:
    """Read the changelogs of ``lanes`` from where their tables are to their ends; return how many records it took.

    A table that the changelog cannot continue is worth nothing and is built anew.

    Parameters
    ----------
    lanes
        Nobody else may be writing to their changelogs any more.
    kafka
        Addresses of brokers.
    topic_ids
        The ids of the changelogs, where the broker tells them.
    tombstones_kept
        Milliseconds for which the changelogs keep deletions: an older table would keep what was deleted.
    counts
        Where it is told how far this is.

    Raises
    ------
    TopicReplacedError
        A changelog is not the one from which the table was made.
    HangingTransactionError
        A transaction is open in a changelog, though all that there were have ended.
    aiokafka.errors.KafkaError
        The broker went away. What was read until then is kept.
    """
    consumer = AIOKafkaConsumer(
        **kafka.options(),
        isolation_level=ISOLATION_LEVEL,
        enable_auto_commit=False,
        # Positions are set here; where one is not in the log, an error is better than a guess.
        auto_offset_reset="none",
        fetch_max_wait_ms=_FETCH_WAIT_MILLISECONDS,
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    try:
        await consumer.start()
        reading = {TopicPartition(lane.changelog, lane.partition): lane for lane in lanes}
        # Of topics it does not know it would find out one after the other, a tenth of a second each.
        await consumer._client.set_topics({place.topic for place in reading})  # noqa: SLF001
        return await _Reading(consumer, reading, topic_ids, counts).run(tombstones_kept)
    finally:
        await consumer.stop()


class _Lacking(NamedTuple):
    """What a table lacks of its changelog."""

    start: int
    """Its first offset."""
    end: int
    """The offset after its last."""
    written_at: int
    """As of when (ms) the table is. Read in part it is no younger: what was deleted may be deleted further on."""


class _Reading:
    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        lanes: dict[TopicPartition, Lane],
        topic_ids: Mapping[str, bytes],
        counts: Counts,
    ) -> None:
        self._consumer = consumer
        self._lanes = lanes
        self._topic_ids = topic_ids
        self._counts = counts
        self._now = round(time.time() * 1000)
        """As of when tables are that are read to the end."""

    async def run(self, tombstones_kept: int) -> int:
        consumer = self._consumer
        ends = await consumer.end_offsets(list(self._lanes))
        beginnings = await consumer.beginning_offsets(list(self._lanes))
        for place, end in (await self._ends_of_all()).items():
            if end != ends[place]:
                raise HangingTransactionError(
                    f"{place.topic}-{place.partition} ends at offset {end}, but a transaction hangs at {ends[place]}"
                )
        oldest = self._now - tombstones_kept
        found = {
            place: self._lacking(lane, beginnings[place], ends[place], oldest) for place, lane in self._lanes.items()
        }
        lacking = {place: part for place, part in found.items() if part.start < part.end}
        if not lacking:
            return 0
        consumer.assign(list(lacking))
        for place, part in lacking.items():
            consumer.seek(place, part.start)
        left = {place: part.end - part.start for place, part in lacking.items()}
        self._counts.restoring += sum(left.values())
        try:
            return await self._read(lacking, left)
        finally:
            self._counts.restoring -= sum(left.values())

    async def _read(self, lacking: Mapping[TopicPartition, _Lacking], left: dict[TopicPartition, int]) -> int:
        """Read until nothing is ``left``: how many offsets of what is ``lacking`` are not read."""
        total = sum(left.values())
        began = reported = time.monotonic()
        count = 0
        while any(left.values()):
            for place, end, changes in await self._take(lacking):
                count += changes
                self._counts.restored += changes
                self._counts.restoring -= left[place]
                left[place] = max(0, lacking[place].end - end)
                self._counts.restoring += left[place]
            if time.monotonic() - reported > _PROGRESS_SECONDS:
                reported = time.monotonic()
                _log.info(
                    "restoring: %d of about %d changelog records, %.0f a second",
                    count,
                    total,
                    count / (reported - began),
                )
        return count

    async def _ends_of_all(self) -> dict[TopicPartition, int]:
        """Return where the changelogs end, what is not committed counted."""
        fetcher = self._consumer._fetcher  # noqa: SLF001 # a consumer asks at its own level of isolation only
        level, fetcher._isolation_level = fetcher._isolation_level, READ_UNCOMMITTED  # noqa: SLF001
        try:
            ends: dict[TopicPartition, int] = await self._consumer.end_offsets(list(self._lanes))
        finally:
            fetcher._isolation_level = level  # noqa: SLF001
        return ends

    async def _take(self, lacking: Mapping[TopicPartition, _Lacking]) -> list[tuple[TopicPartition, int, int]]:
        """Apply what is fetched; return for each partition how far that went and how many records it was."""
        fetcher = self._consumer._fetcher  # noqa: SLF001 # as in the transport
        taken = []
        for place in list(fetcher._records):  # noqa: SLF001
            found = fetched.take(fetcher, place, fetched.change)
            if found is not None:
                topic_id = self._topic_ids.get(place.topic, UNKNOWN_TOPIC)
                written_at = self._now if found.end >= lacking[place].end else lacking[place].written_at
                self._lanes[place].table.store(dict(found.records), Mark(found.end - 1, written_at, topic_id))
                taken.append((place, found.end, len(found.records)))
        if not taken:
            await fetched.wait(fetcher, _LOOK_UP_SECONDS)
        return taken

    def _lacking(self, lane: Lane, beginning: int, end: int, oldest: int) -> _Lacking:
        """Return what the table lacks, clearing one that cannot be continued."""
        all_of_it = _Lacking(beginning, end, self._now)
        if lane.table.is_damaged:
            _log.warning("the local table of %s is damaged: it is built anew", lane, extra=lane.fields)
            lane.table.clear()
        mark = lane.table.mark()
        if mark is None:
            if not lane.table.is_empty():
                lane.table.clear()
            return all_of_it
        known = self._topic_ids.get(lane.changelog, UNKNOWN_TOPIC)
        if UNKNOWN_TOPIC not in (known, mark.topic_id) and known != mark.topic_id:
            raise TopicReplacedError(
                f"the changelog {lane.changelog} was made anew; the state of {lane} was in the old one"
            )
        following = mark.offset + 1
        if not beginning <= following <= end:
            why = f"at changelog offset {mark.offset}, outside the changelog ({beginning} to {end})"
        elif following < end and mark.written_at < oldest:
            why = "older than the deletions that the changelog still has"
        else:
            return _Lacking(following, end, mark.written_at)
        _log.warning("the local table of %s is %s: it is built anew", lane, why, extra=lane.fields)
        lane.table.clear()
        return all_of_it
