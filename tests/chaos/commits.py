"""When workers commit: what a reader of committed records sees of a topic that they always write to, by partition."""

import asyncio
import contextlib
import time
from bisect import bisect_left
from itertools import pairwise
from types import TracebackType
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream_qa.kafka_access import KafkaAccess

_POLL_MILLISECONDS = 100
_LOOK_UP_SECONDS = 0.02
_RETRY_SECONDS = 0.1


class Since(NamedTuple):
    """A moment, and what was in the log then: what is committed later is new."""

    moment: float
    ends: tuple[int, ...]
    """By partition; what was not committed counts as well."""


class Commits:
    """Follows the commits of a worker group; an asynchronous context manager.

    Parameters
    ----------
    kafka
        Addresses of brokers.
    topic
        Every commit at a partition writes to that partition of it.
    partitions
        How many it has.
    """

    def __init__(self, kafka: KafkaAccess, topic: str, partitions: int) -> None:
        self._places = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._offsets: list[list[int]] = [[] for _ in self._places]
        self._moments: list[list[float]] = [[] for _ in self._places]

        def consumer(isolation_level: str) -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                **kafka.options(),
                isolation_level=isolation_level,
                enable_auto_commit=False,
                auto_offset_reset="none",
                fetch_max_wait_ms=_POLL_MILLISECONDS,
            )

        self._follower = consumer("read_committed")
        self._end_reader = consumer("read_uncommitted")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._follower.start()
        await self._end_reader.start()
        self._follower.assign(self._places)
        for place in self._places:
            self._follower.seek(place, 0)
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._follower.stop()
        await self._end_reader.stop()

    async def now(self) -> Since:
        """Return this moment; the broker must be there, or be back soon."""
        while True:
            moment = time.monotonic()
            try:
                ends = await self._end_reader.end_offsets(self._places)
            except (KafkaError, OSError):
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return Since(moment, tuple(ends[place] for place in self._places))

    async def back(self, since: Since, patience: float) -> float | None:
        """Return after how many seconds every partition had something newly committed; ``None`` where one has not."""
        while (moments := [self._first(number, end) for number, end in enumerate(since.ends)]) and None in moments:
            if time.monotonic() - since.moment > patience:
                return None
            await asyncio.sleep(_LOOK_UP_SECONDS)
        return max(moment for moment in moments if moment is not None) - since.moment

    def silence(self, since: float, until: float) -> float:
        """Return the longest time within which some partition had nothing newly committed, in seconds."""
        longest = 0.0
        for moments in self._moments:
            inside = [since, *moments[bisect_left(moments, since) : bisect_left(moments, until)], until]
            longest = max(longest, *(later - earlier for earlier, later in pairwise(inside)))
        return longest

    def _first(self, number: int, end: int) -> float | None:
        index = bisect_left(self._offsets[number], end)
        return self._moments[number][index] if index < len(self._offsets[number]) else None

    async def _follow(self) -> None:
        while True:
            try:
                fetched = await self._follower.getmany(timeout_ms=_POLL_MILLISECONDS)
            except (KafkaError, OSError):
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for place, records in fetched.items():
                self._offsets[place.partition].append(records[-1].offset)
                self._moments[place.partition].append(time.monotonic())
