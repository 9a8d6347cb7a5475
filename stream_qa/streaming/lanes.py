"""All lanes of a worker: opened when partitions are assigned, dropped when they are taken away."""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from aiokafka.errors import KafkaError

from stream_qa.errors import BrokerAccessError, BrokerUnavailableError, StateError
from stream_qa.events import Message
from stream_qa.learning.guard import GUARD, Standing
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import Pipeline
from stream_qa.streaming.batches import Destination
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.group import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, LaneGroup, group_of
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.metrics import Counts
from stream_qa.streaming.model_follower import ModelFollower
from stream_qa.streaming.opening import Opening, Place, Source
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.sources import STEP_BYTES
from stream_qa.streaming.stage_lanes import StageLanes
from stream_qa.streaming.tasks import telling
from stream_qa.streaming.ticking import Ticker
from stream_qa.streaming.transactions import Transactions
from stream_qa.topics import refusal

#: Steps for which records of a source may wait in a lane: enough that it never runs dry, few enough for memory.
_QUEUED_STEPS = 3
_ANSWER_SECONDS = 2.0
#: How long a transaction in flight may take to end when partitions are taken away or the worker is to stop.
_END_SECONDS = 8.0
#: A transaction outlives a pause that the session outlives; longer, and readers would wait for nothing.
_TRANSACTION_SECONDS_MORE = 10.0
_TRANSACTION_SECONDS_AT_MOST = 900.0
#: The group of all lanes, in a worker that has all of them: one transaction then has all that an event leads to.
_ALL = "all"
#: The stages of which a guard says whether they are published.
_LEARNERS = ("member", "job")


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
        self._failed = failed
        self._stage_lanes = StageLanes(settings, pipeline)
        self._connections = Connections(settings.kafka, settings.group_id, settings.topics.all())
        self.counts = Counts(settings.topics.dead_letters)
        self._opener = Opening(settings, self._connections, self.counts)
        self._models = ModelFollower(settings, pipeline.models, failed)
        self._groups: dict[str, LaneGroup] = {}
        self._transactions: dict[str, Transactions] = {}
        """By the name of the group."""
        self._lanes: dict[Place, Lane] = {}
        self._group_of: dict[Lane, LaneGroup] = {}
        self._source: Source | None = None
        # Assignments follow each other quickly in a rebalance: one is finished before the next begins.
        self._changing = asyncio.Lock()
        self._opening: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self.room = asyncio.Event()
        """Set when a lane can take more than before."""

    @property
    def source_topics(self) -> tuple[str, ...]:
        """The topics that lanes read."""
        topics = self._settings.topics
        learned = topics.applications, topics.engagements, topics.ticks, topics.labels, topics.examples
        return (*learned, topics.scores) if self._settings.notify_per_job_and_day else learned

    def session(self, place: Place) -> int | None:
        """Return the session in which a place may be read now; ``None`` while it may not."""
        lane = self._lanes.get(place)
        if lane is None or not lane.is_open:
            return None
        # Of the topic alone: the lane may wait for the other one to come up with it.
        records, size = lane.waiting.queued_of(place[0]), lane.waiting.bytes_of(place[0])
        if records >= _QUEUED_STEPS * self._settings.chunk_records or size >= _QUEUED_STEPS * STEP_BYTES:
            return None
        return lane.session

    def position(self, place: Place) -> int | None:
        """Return the committed next offset of a place; ``None`` where it is not read here, or not yet."""
        lane = self._lanes.get(place)
        return None if lane is None else lane.positions.get(place[0])

    def places(self) -> list[Place]:
        """Return the places that are read here."""
        return list(self._lanes)

    def all(self) -> list[Lane]:
        """Return the lanes that are this worker's, open or not."""
        return [lane for group in self._groups.values() for lane in group.lanes]

    def standings(self) -> Iterator[tuple[Lane, Standing]]:
        """Yield the open lanes of learners, each with how good what it has learned is."""
        for lane in self.all():
            if lane.is_open and lane.stage in _LEARNERS:
                try:
                    [record] = lane.table.get_many([GUARD])
                    yield lane, Standing.unpack(record)
                except StateError:
                    # Damage that reading has met is mended before the group's next step.
                    continue

    def held_back(self) -> list[str]:
        """Return where coefficients are not published and why, a sentence each."""
        return [f"{lane}: {sentence}" for lane, standing in self.standings() for sentence in standing.explained()]

    @property
    def is_assigned(self) -> bool:
        """Whether the group has told this worker what is its own, be it nothing."""
        return self._source is not None

    @property
    def waits_for_model(self) -> bool:
        """Whether labels name a model that cannot be read here."""
        return self._models.waited_for is not None

    @property
    def model_is_refused(self) -> bool:
        """Whether the model that was published last cannot be used here."""
        return self._models.refusal is not None

    async def behind(self) -> dict[tuple[Lane, str], int] | None:
        """Return how many records of open lanes are not processed yet, by lane and topic; ``None`` where none says."""
        opened = [(lane, topic) for lane in self.all() if lane.is_open for topic in lane.sources]
        if self._source is None or not opened:
            return {}
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                bounds = await self._source.bounds([(topic, lane.partition) for lane, topic in opened])
        except (KafkaError, OSError, TimeoutError):
            return None
        # It may have moved on, or ended, since the broker was asked.
        return {
            (lane, topic): max(0, bounds[topic, lane.partition][1] - lane.positions[topic]) for lane, topic in opened
        }

    async def lag(self) -> Counter[tuple[str, str]] | None:
        """Return how many records of open lanes are not processed yet, by stage and topic; ``None`` where none says."""
        behind = await self.behind()
        if behind is None:
            return None
        lag: Counter[tuple[str, str]] = Counter()
        for (lane, topic), count in behind.items():
            lag[lane.stage, topic] += count
        return lag

    async def problem(self) -> str | None:
        """Return why records are not being processed now; ``None`` when they are."""
        unopened = self._unopened()
        if unopened is not None:
            # Where brokers cannot be used, that is why it does not go on.
            return await self._refusal() or unopened
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._connections.start()
                await self._connections.topic_ids()
        except BrokerAccessError as error:
            return str(error)
        except (BrokerUnavailableError, TimeoutError) as error:
            # The client library says of a certificate, too, only that it cannot connect.
            return await self._refusal() or f"no Kafka broker answers: {error!r}"
        return None

    def _unopened(self) -> str | None:
        if self._source is None:
            return "the group has not given this worker its partitions yet"
        groups = self._groups.values()
        closed = [partition for group in groups if not group.is_open for partition in group.partitions]
        if closed:
            return self._models.waited_for or f"the state of partitions {sorted(closed)} is being restored"
        return None if self._opening is None else "the published models are being read"

    async def _refusal(self) -> str | None:
        """Say why no broker can be used; ``None`` where one can, or none has said in time."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                error = await refusal(self._settings.kafka)
        except TimeoutError:
            return None
        return None if error is None else str(error)

    def add(self, chunk: Chunk) -> None:
        """Queue a chunk for its stage."""
        lane = self._lanes.get((chunk.topic, chunk.partition))
        if lane is not None:
            self._group_of[lane].add(lane, chunk)

    async def restore(self, assigned: Iterable[Place], source: Source) -> None:
        """Make the lanes of ``assigned`` ready and open them; close all others.

        Parameters
        ----------
        assigned
            The source partitions that are this worker's from now on.
        source
            The consumer that has them.

        Raises
        ------
        StateError
            The assignment tears lanes apart that belong together, or a table cannot be opened.
        TopicsError
            The topics are not those from which the state was made.
        """
        async with self._changing:
            self._source = source
            await self._stop_groups()
            self._opening = asyncio.create_task(self._open_assigned(set(assigned)))
            try:
                await self._opening
            except asyncio.CancelledError:
                # Taken away again meanwhile, which is no error; but whoever cancels us may.
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
            finally:
                self._opening = None

    async def pause(self) -> None:
        """Let the transactions in flight end and take in nothing more: the partitions may be another worker's soon."""
        if self._opening is not None:
            self._opening.cancel()
        async with self._changing:
            await self._stop_groups()

    async def close(self) -> None:
        """End: commit what is in flight, close the tables, disconnect."""
        await self.pause()
        if self._ticking is not None:
            self._ticking.cancel()
        await self._models.stop()
        async with self._changing:
            self._take_over(set())
            await self._connections.stop()

    async def _tick(self) -> None:
        """Move the event time of quiet inputs on, for as long as the worker runs."""
        tickers: dict[Lane, Ticker] = {}
        label, quiet_seconds = self._stage_lanes.label, self._settings.quiet_seconds
        while True:
            await asyncio.sleep(quiet_seconds)
            tickers = {
                lane: tickers.get(lane) or Ticker(label, group, lane, quiet_seconds)
                for group in self._groups.values()
                for lane in group.lanes
                if lane.stage == label.name
            }
            for ticker in tickers.values():
                ticker.tick()

    async def _stop_groups(self) -> None:
        await asyncio.gather(*(group.stop(_END_SECONDS) for group in self._groups.values()))

    async def _open_assigned(self, assigned: set[Place]) -> None:
        self._take_over(assigned)
        # Both wait for the broker, and a worker that was killed is to be back soon.
        await asyncio.gather(self._models.start(), self._open(list(self._groups.values())))
        for group in self._groups.values():
            group.start()
        self.room.set()
        if self._ticking is None and self._settings.quiet_seconds:
            self._ticking = asyncio.create_task(self._tick(), name="ticks")
            self._ticking.add_done_callback(telling(self._failed))

    async def _reopen(self, group: LaneGroup) -> None:
        """Open a group again, once it is known that its partition is still ours.

        Else we would fence the worker that has it now. Where it is not ours any more, this is cancelled when that is
        known, and the group stopped.
        """
        wait = FIRST_WAIT_SECONDS
        while self._source is not None and not await self._source.is_member():
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        await self._open([group])
        self.room.set()

    async def _open(self, groups: Sequence[LaneGroup]) -> None:
        if self._source is None:
            raise StateError("a group was opened before any partition was assigned")
        await self._opener.open(groups, self._source)
        self._stage_lanes.partitions = self._opener.partition_counts[self._settings.topics.applications]

    def _take_over(self, assigned: set[Place]) -> None:
        """Open the tables of the assigned partitions, close those of all others."""
        partitions = sorted({partition for _, partition in assigned})
        whole = {(topic, partition) for topic in self.source_topics for partition in partitions}
        if whole != assigned:
            raise StateError(f"the assignment lacks {sorted(whole - assigned)}: lanes of a partition belong together")
        wanted = self._grouped(partitions)
        for name, group in list(self._groups.items()):
            if group.partitions != wanted.get(name):
                del self._groups[name]
                for lane in group.lanes:
                    lane.table.close()
        for name in wanted.keys() - self._groups.keys():
            self._groups[name] = self._group(name, wanted[name])
        self._group_of = {lane: group for group in self._groups.values() for lane in group.lanes}
        self._lanes = {(topic, lane.partition): lane for lane in self._group_of for topic in lane.sources}

    def _grouped(self, partitions: Sequence[int]) -> dict[str, list[int]]:
        """Return which partition numbers share their transactions, by name."""
        if not partitions or self._source is None:
            return {}
        if len(partitions) == self._source.partition_count(self._settings.topics.applications):
            return {_ALL: list(partitions)}
        wanted: defaultdict[str, list[int]] = defaultdict(list)
        for partition in partitions:
            wanted[str(group_of(partition, self._settings.groups))].append(partition)
        return wanted

    def _group(self, name: str, partitions: Sequence[int]) -> LaneGroup:
        settings = self._settings
        # A former owner of these lanes was alone, or it was not.
        others = {str(group_of(partition, settings.groups)) for partition in partitions} if name == _ALL else {_ALL}
        in_a_group = math.ceil(len(partitions) / settings.groups) if name == _ALL else len(partitions)
        return LaneGroup(
            name,
            [lane for partition in partitions for lane in self._stage_lanes.open(partition)],
            self._transactions_of(name),
            self._destination,
            self._reopen,
            fences=[self._transactions_of(other) for other in sorted(others)],
            is_alone=name == _ALL,
            counts=self.counts,
            model_here=self._models.wait_for,
            most=max(1, settings.chunk_records // in_a_group),
            pause=settings.commit_milliseconds / 1000,
            committed=self._committed,
            failed=self._failed,
        )

    def _committed(self, handed: Mapping[Place, int]) -> None:
        """Let the consumer pass by what was handed over, up to such offsets, and fetch for lanes that have room now."""
        if handed and self._source is not None:
            self._source.pass_by(handed)
        self.room.set()

    def _transactions_of(self, name: str) -> Transactions:
        if name not in self._transactions:
            settings = self._settings
            timeout = min(settings.session_timeout_seconds + _TRANSACTION_SECONDS_MORE, _TRANSACTION_SECONDS_AT_MOST)
            # Of the topics, not of the application: a second application on them is noticed, as each fences the other.
            self._transactions[name] = Transactions(
                self._connections, f"{settings.topics.label_changelog}-{name}", timeout
            )
        return self._transactions[name]

    def _destination(self, message: Message) -> Destination:
        """Say to which partition a message goes."""
        if message.partition is not None:
            return message.topic, message.partition
        return message.topic, partition_of(message.key, self._opener.partition_counts[message.topic])
