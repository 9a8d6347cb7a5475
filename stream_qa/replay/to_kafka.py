"""A log through the broker: produced to the input topics, at a pace, and followed until the workers are done."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream_qa.errors import ReplayStalledError
from stream_qa.events import Message
from stream_qa.replay.log import LogEvent
from stream_qa.replay.report import Report
from stream_qa.settings import Settings
from stream_qa.streaming.group_offsets import GroupOffsets
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.topic_check import check_topics

_POLL_MILLISECONDS = 200
_LOOK_UP_SECONDS = 0.5
_UNACKNOWLEDGED = 10_000
_LINGER_MILLISECONDS = 5


class KafkaReplay:
    """Produces a log and reports what the workers emit meanwhile; an asynchronous context manager.

    Parameters
    ----------
    settings
        Where the broker is, and which worker group to wait for.
    report
        Takes in what is emitted from the moment the context is entered.
    """

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._report = report
        self._counts: Mapping[str, int] = {}
        options = settings.kafka.options()
        self._consumer = AIOKafkaConsumer(
            **options,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
        )
        self._producer = AIOKafkaProducer(**options, enable_idempotence=True, linger_ms=_LINGER_MILLISECONDS)
        self._admin = AIOKafkaAdminClient(**options)

    async def __aenter__(self) -> Self:
        """Connect, and take note of where the output topics end now.

        Raises
        ------
        BrokerUnavailableError, TopicsError
            No broker answers, or its topics are not as they must be.
        """
        self._counts = await check_topics(self._settings)
        self._offsets = GroupOffsets(self._settings, self._counts, self._consumer, self._admin)
        await asyncio.gather(self._consumer.start(), self._producer.start(), self._admin.start())
        places = self._places(
            self._topics.labels,
            self._topics.examples,
            self._topics.scores,
            self._topics.notifications,
            self._topics.coefficients,
            self._topics.coefficient_snapshots,
            self._topics.dead_letters,
        )
        ends = await self._consumer.end_offsets(places)
        self._consumer.assign(places)
        for place, end in ends.items():
            self._consumer.seek(place, end)
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Disconnect."""
        await asyncio.gather(self._consumer.stop(), self._producer.stop(), self._admin.close())

    async def produce(
        self, events: Sequence[LogEvent], speed: float | None, advance: Callable[[int], object] = lambda _count: None
    ) -> None:
        """Send the events in their order.

        Parameters
        ----------
        events
            The log.
        speed
            How many seconds of event time go by in a second; ``None`` is as fast as the broker takes them.
        advance
            Called with the number of events sent since the last call.
        """
        started = time.monotonic()
        pending: list[asyncio.Future[object]] = []
        for event in events:
            if speed is not None:
                due = started + (event.time - events[0].time) / 1000 / speed
                if (early := due - time.monotonic()) > 0:
                    advance(await _acknowledged(pending))
                    await asyncio.sleep(early)
            message = Message(event.topic, event.key, event.value)
            pending.append(await self._send(message))
            if len(pending) >= _UNACKNOWLEDGED:
                advance(await _acknowledged(pending))
        advance(await _acknowledged(pending))

    async def keep(self, dead_letters: Iterable[Message]) -> None:
        """Send the lines that are no events to the dead letters."""
        await _acknowledged([await self._send(message) for message in dead_letters])

    async def follow(self, produced: asyncio.Event, patience: float) -> None:
        """Report what the workers emit until they have done with everything, after ``produced`` is set.

        Raises
        ------
        ReplayStalledError
            The workers have made no progress for ``patience`` seconds.
        """
        moved, looked_up = time.monotonic(), 0.0
        known: Mapping[TopicPartition, int] = {}
        while True:
            if await self._collect():
                moved = time.monotonic()
            if time.monotonic() - looked_up < _LOOK_UP_SECONDS:
                continue
            looked_up = time.monotonic()
            committed = await self._offsets.committed()
            if committed != known:
                known, moved = committed, looked_up
            if produced.is_set() and await self.is_done():
                await self._collect_to_the_end()
                return
            if not produced.is_set():
                moved = time.monotonic()
            elif time.monotonic() - moved > patience:
                raise ReplayStalledError(
                    f"the workers of {self._settings.group_id} have done nothing for {patience:.0f} s; does one run?"
                )

    async def is_done(self) -> bool:
        """Whether the workers have read all there is, on every topic of the flow."""
        return await self._offsets.is_done()

    async def _send(self, message: Message) -> "asyncio.Future[object]":
        partition = partition_of(message.key, self._counts[message.topic])
        future: asyncio.Future[object] = await self._producer.send(
            message.topic, value=message.value, key=message.key, partition=partition, headers=list(message.headers)
        )
        return future

    async def _collect(self) -> int:
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MILLISECONDS)
        for records in fetched.values():
            for record in records:
                self._report.add(Message(record.topic, record.key, record.value, record.headers))
        return sum(map(len, fetched.values()))

    async def _collect_to_the_end(self) -> None:
        ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
        while any([await self._consumer.position(place) < end for place, end in ends.items()]):
            await self._collect()

    def _places(self, *topics: str) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic in topics for partition in range(self._counts[topic])]


async def both(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Run two to their ends; where one fails, end the other and raise its error at once."""
    tasks = [asyncio.create_task(first), asyncio.create_task(second)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _acknowledged(pending: list["asyncio.Future[object]"]) -> int:
    """Wait for the broker to have all of ``pending``, empty it, and return how many there were."""
    count = len(pending)
    await asyncio.gather(*pending)
    pending.clear()
    return count
