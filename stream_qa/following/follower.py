"""Follows the coefficient topics into a store: what a server runs beside its requests."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from stream_qa.coefficients import Change, CoefficientStore, Place, Reach, Renewal, read_delta, read_snapshot
from stream_qa.errors import (
    BrokerUnavailableError,
    CorruptTableError,
    InvalidEventError,
    PartitionCountError,
    StoreAheadError,
    StoreError,
    TopicReplacedError,
)
from stream_qa.events import TopicNames, wire
from stream_qa.kafka_access import KafkaAccess
from stream_qa.logs import at
from stream_qa.streaming.connections import Connections
from stream_qa.topics import existing_counts

_log = logging.getLogger(__name__)

_POLL_MILLISECONDS = 200
_FETCH_WAIT_MILLISECONDS = 100
_MOST_RECORDS = 5_000
_RETRY_SECONDS = 1.0


@dataclass
class FollowerMetrics:
    """What a follower has met since it was made; what became of changes is in the store's metrics."""

    records: int = 0
    unreadable: int = 0
    """Records that are neither deltas, snapshots nor tombstones: they are passed over, as if they were missing."""
    interruptions: int = 0
    """Times that broker or store did not answer, or had lost something, and following began again from the store."""
    behind: int = 0
    """Offsets of deltas that there were beyond what is applied, when it was last looked at."""


@dataclass
class _Reading:
    """One connection, from its beginning to its end."""

    consumer: AIOKafkaConsumer
    snapshots: list[TopicPartition]
    deltas: list[TopicPartition]
    beginnings: dict[TopicPartition, int]
    ends: dict[TopicPartition, int]
    """Where the partitions ended when it began."""
    known: dict[Place, int]
    """How far the store follows each of them; 0 where it has nothing of it."""
    catching_up: bool = True
    """Whether snapshots are read, and deltas wait for them."""

    @property
    def places(self) -> list[TopicPartition]:
        return [*self.snapshots, *self.deltas]

    def beginning(self, place: TopicPartition) -> int:
        """Return where the partition is read on for the store."""
        return max(self.known[Place(*place)], self.beginnings[place])

    def is_cold(self, deltas: TopicPartition) -> bool:
        """Whether deltas are read from the beginning of what is retained, and none was before."""
        return self.known[Place(*deltas)] == 0

    def missed(self) -> dict[Place, Reach]:
        """Return how far partitions whose next deltas are no longer retained are followed, back to their beginnings.

        The snapshots too: those that were read beside deltas only renewed what was held.
        """
        return {
            Place(*place): Reach(self.known[Place(*place)], 0)
            for snapshots, deltas in zip(self.snapshots, self.deltas, strict=True)
            if 0 < self.known[Place(*deltas)] < self.beginnings[deltas]
            for place in (snapshots, deltas)
        }

    async def has_reached_ends(self, places: Collection[TopicPartition]) -> bool:
        return all([await self.consumer.position(place) >= self.ends[place] for place in places])


@dataclass
class Follower:
    """Brings a store to the ends of the coefficient topics and keeps it there.

    A store that was followed before goes on where it is. Repeats, several followers of one store and a kill at any
    moment do no harm: vectors and positions are one step, from where the store is.

    Parameters
    ----------
    store
        Filled by this, in a thread of its own.
    kafka
        Where the brokers are.
    topics
        The names of the topics.
    partitions
        The partitions to follow; by default all.
    on_changes
        Called, in the event loop, with changes that the store has just been given.
    """

    store: CoefficientStore
    kafka: KafkaAccess
    topics: TopicNames
    partitions: Collection[int] | None = None
    on_changes: Callable[[Sequence[Change]], object] = lambda _changes: None
    metrics: FollowerMetrics = field(init=False, default_factory=FollowerMetrics)
    _ready: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _fresh_at: float | None = field(init=False, default=None)
    _fresh: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    @property
    def is_ready(self) -> bool:
        """Whether the store has come to where the topics ended when this was started.

        One that is found damaged, or to have lost everything, has to come there again.
        """
        return self._ready.is_set()

    @property
    def staleness(self) -> float | None:
        """Seconds since the store was seen to have every delta that there was; ``None`` before it was."""
        return None if self._fresh_at is None else max(0.0, time.time() - self._fresh_at)

    async def ready(self) -> None:
        """Return when it is ready."""
        await self._ready.wait()

    async def fresh(self) -> None:
        """Return when the store was seen, for the first time, to have every delta that there was."""
        await self._fresh.wait()

    def stop(self) -> None:
        """End ``run`` within the time of a look at the broker."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow until stopped. Where broker or store do not answer, try again, for as long as it takes.

        A store that is found damaged begins anew, and is filled again.

        Raises
        ------
        TopicMissingError
            A topic does not exist.
        PartitionCountError
            The topics have not the same number of partitions.
        TopicReplacedError
            Another topic of that name was followed: it had another id, or the store is beyond this one's end.
        StateError
            The store's own disk cannot be read or written.
        """
        while not self._stopping.is_set():
            try:
                await self._follow()
            except (KafkaError, BrokerUnavailableError, StoreError, CorruptTableError, OSError) as error:
                self.metrics.interruptions += 1
                if isinstance(error, CorruptTableError):
                    self._ready.clear()  # until the store is filled again, from nothing
                _log.warning("following the coefficients was interrupted and begins again: %s", error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _RETRY_SECONDS)

    async def _follow(self) -> None:
        counts = await existing_counts(self.kafka, [self.topics.coefficients, self.topics.coefficient_snapshots])
        await self._refuse_others()
        consumer = AIOKafkaConsumer(
            **self.kafka.options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            # Positions are the store's; where one is not in the topic any more, the error begins a cold start.
            auto_offset_reset="none",
            fetch_max_wait_ms=_FETCH_WAIT_MILLISECONDS,
        )
        try:
            await consumer.start()
            reading = await self._begin(consumer, *(self._places(name, number) for name, number in counts.items()))
            while not self._stopping.is_set():
                await self._step(reading)
        finally:
            await consumer.stop()

    async def _refuse_others(self) -> None:
        """Raise where a topic was made anew since the store began to follow it, as far as the broker tells."""
        topics = [self.topics.coefficients, self.topics.coefficient_snapshots]
        connections = Connections(self.kafka, "stream-qa-follower", topics)
        await connections.start()
        try:
            topic_ids = await connections.topic_ids()
        finally:
            await connections.stop()
        for topic, topic_id in topic_ids.items():
            if await asyncio.to_thread(self.store.followed, topic, topic_id) != topic_id:
                raise TopicReplacedError(f"{topic} was deleted and made anew since the store began to follow it")

    def _places(self, topic: str, count: int) -> list[TopicPartition]:
        numbers = range(count) if self.partitions is None else sorted(self.partitions)
        return [TopicPartition(topic, number) for number in numbers]

    async def _begin(
        self, consumer: AIOKafkaConsumer, deltas: list[TopicPartition], snapshots: list[TopicPartition]
    ) -> _Reading:
        """Set out from where the store is, with the snapshots first."""
        if len(deltas) != len(snapshots):
            raise PartitionCountError("the topics of deltas and snapshots have not the same number of partitions")
        places = [*snapshots, *deltas]
        known = await self._known(places)
        beginnings, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        reading = _Reading(consumer, snapshots, deltas, beginnings, ends, known)
        for place in places:
            if known[Place(*place)] > ends[place]:
                raise TopicReplacedError(
                    f"the store is at offset {known[Place(*place)]} of {place.topic}-{place.partition}, which ends at "
                    f"{ends[place]}: it followed another topic of that name"
                )
        if missed := reading.missed():
            _log.warning(
                "the store was away for longer than deltas are retained and starts from the snapshots: who was dropped "
                "meanwhile may stay in it until they come again, unless it is emptied"
            )
            await asyncio.to_thread(self.store.apply, [], missed)
            known.update({place: reach.until for place, reach in missed.items()})
        if not any(known.values()):
            self._ready.clear()  # also where a store was emptied, or began anew after damage that a look-up has met
        consumer.assign(places)
        for place in places:
            consumer.seek(place, reading.beginning(place))
        consumer.pause(*deltas)
        return reading

    async def _known(self, places: Sequence[TopicPartition]) -> dict[Place, int]:
        held = await asyncio.to_thread(self.store.positions)
        return {Place(*place): held.get(Place(*place), 0) for place in places}

    async def _step(self, reading: _Reading) -> None:
        await self._move_on(reading)
        consumer = reading.consumer
        fetched = await consumer.getmany(timeout_ms=_POLL_MILLISECONDS, max_records=_MOST_RECORDS)
        changes = [
            change
            for place, records in fetched.items()
            for change in self._read(records, decides_who_is_held=self._decides_who_is_held(reading, place))
        ]
        # Where nothing is new, this still asks whether the store is where it was.
        reached = {place: Reach(offset, offset) for place, offset in reading.known.items()}
        for place in fetched:
            reached[Place(*place)] = Reach(reading.known[Place(*place)], await consumer.position(place))
        try:
            await asyncio.to_thread(self.store.apply, changes, reached)
        except StoreAheadError:
            await self._go_on_from_the_store(reading, fetched)
        else:
            reading.known.update({place: reach.until for place, reach in reached.items()})
            if changes:
                self.on_changes(changes)
        if not reading.catching_up:
            await self._look_how_fresh(reading)

    async def _go_on_from_the_store(self, reading: _Reading, fetched: Collection[TopicPartition]) -> None:
        """Leave to others what they have done, and read again what was fetched and is still to be done."""
        before, reading.known = reading.known, await self._known(reading.places)
        for place in reading.places:
            if place in fetched or reading.known[Place(*place)] != before[Place(*place)]:
                reading.consumer.seek(place, reading.beginning(place))

    async def _move_on(self, reading: _Reading) -> None:
        """From the snapshots to the deltas, and from there to being ready."""
        if reading.catching_up and await reading.has_reached_ends(reading.snapshots):
            reading.catching_up = False
            reading.consumer.resume(*reading.deltas)
        if not reading.catching_up and not self.is_ready and await reading.has_reached_ends(reading.deltas):
            self._ready.set()

    def _decides_who_is_held(self, reading: _Reading, place: TopicPartition) -> bool:
        """Whether a partition begins and ends entities.

        The snapshots are in no order with deltas that were applied before: they may be of an entity that has ended, or
        of the end before the one that lives.
        """
        deltas = TopicPartition(self.topics.coefficients, place.partition)
        return place == deltas or (reading.catching_up and reading.is_cold(deltas))

    def _read(self, records: Sequence[ConsumerRecord], *, decides_who_is_held: bool) -> list[Change]:
        changes: list[Change] = []
        for record in records:
            self.metrics.records += 1
            read = read_delta if record.topic == self.topics.coefficients else read_snapshot
            try:
                change = read(record.key, record.value)
            except InvalidEventError as error:
                self.metrics.unreadable += 1
                where = at(record.topic, record.partition, record.offset)
                _log.warning("a record is passed over: %s", error, extra=where)
                continue
            if decides_who_is_held:
                changes.append(change)
            elif isinstance(change, wire.Snapshot):
                changes.append(Renewal(change))
        return changes

    async def _look_how_fresh(self, reading: _Reading) -> None:
        behind = 0
        looked_at = time.time()
        for place in reading.deltas:
            end, looked = (
                reading.consumer.last_stable_offset(place),
                reading.consumer.last_poll_timestamp(place),
            )
            if end is None or looked is None:
                return
            behind += max(0, end - await reading.consumer.position(place))
            looked_at = min(looked_at, looked / 1000)
        self.metrics.behind = behind
        if behind == 0:
            self._fresh_at = looked_at
            self._fresh.set()
