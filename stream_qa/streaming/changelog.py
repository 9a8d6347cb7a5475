"""Catching tables up with their changelogs: what is on the broker is the truth, the local copy a cache."""

import logging
import time
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream_qa.stages.state import Changes
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.table import CHANGELOG_OFFSET, pack_offset

_log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 5.0
_FETCH_BYTES = 4 << 20
_FETCH_RECORDS = 20_000
_POLL_MILLISECONDS = 200


async def catch_up(lanes: Sequence[Lane], bootstrap_servers: Sequence[str]) -> int:
    """Read the changelogs of ``lanes`` from where their tables are to their ends; return how many records it took.

    A table whose offset the changelog does not have (any more) is worth nothing and is built anew.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(bootstrap_servers),
        isolation_level="read_committed",
        enable_auto_commit=False,
        # Positions are set here; where one is not in the log, an error is better than a guess.
        auto_offset_reset="none",
        fetch_max_wait_ms=_POLL_MILLISECONDS,
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    await consumer.start()
    try:
        return await _read(consumer, {TopicPartition(lane.changelog, lane.partition): lane for lane in lanes})
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer, lanes: dict[TopicPartition, Lane]) -> int:
    ends = await consumer.end_offsets(list(lanes))
    beginnings = await consumer.beginning_offsets(list(lanes))
    consumer.assign(list(lanes))
    remaining = {}
    for place, lane in lanes.items():
        start = _start(lane, beginnings[place], ends[place])
        consumer.seek(place, start)
        if start < ends[place]:
            remaining[place] = ends[place]
    total = sum([ends[place] - await consumer.position(place) for place in remaining])
    count, reported = 0, time.monotonic()
    while remaining:
        fetched = await consumer.getmany(*remaining, timeout_ms=_POLL_MILLISECONDS, max_records=_FETCH_RECORDS)
        for place, records in fetched.items():
            lanes[place].table.apply(_changes(records))
            count += len(records)
        for place in [place for place, end in remaining.items() if await consumer.position(place) >= end]:
            del remaining[place]
        if time.monotonic() - reported > _PROGRESS_SECONDS:
            reported = time.monotonic()
            _log.info("restoring: %d of about %d changelog records", count, total)
    return count


def _start(lane: Lane, beginning: int, end: int) -> int:
    """Return the first changelog offset that the lane's table lacks, clearing a table that cannot be continued."""
    held = lane.table.offset(CHANGELOG_OFFSET)
    if held is None:
        return beginning
    if beginning <= held + 1 <= end:
        return held + 1
    _log.warning(
        "the local table of %s is at changelog offset %d, outside the changelog (%d to %d): it is built anew",
        lane, held, beginning, end,
    )  # fmt: skip
    lane.table.clear()
    return beginning


def _changes(records: Iterable[ConsumerRecord]) -> Changes:
    changes = {}
    offset = -1
    for record in records:
        changes[record.key] = record.value
        offset = record.offset
    changes[CHANGELOG_OFFSET] = pack_offset(offset)
    return changes
