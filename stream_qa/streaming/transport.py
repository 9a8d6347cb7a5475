"""The Faust transport: what one fetch holds for one partition is one event.

Faust's own consumer makes several tasks for each message and lives in a thread of its own; here it lives in the
worker's loop and hands over whole fetches, each with the exact range of offsets that it covers. Faust keeps the
membership, the agents and the web server. docs/decisions/0002-our-own-transport.md says why.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as faust_driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from stream_qa.errors import StreamQAError
from stream_qa.settings import Settings
from stream_qa.streaming import fetched
from stream_qa.streaming.assignor import TogetherAssignor
from stream_qa.streaming.lanes import Lanes
from stream_qa.streaming.membership import Member, instance_id
from stream_qa.streaming.opening import Place
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.stage_lanes import partitions_on_disk

_log = logging.getLogger(__name__)

SCHEME = "chunks"
"""The broker's address in Faust's terms is ``chunks://host:port``."""

_FETCH_WAIT_MILLISECONDS = 25
_FETCH_BYTES = 1 << 20
#: In a heartbeat's answer a member learns of a rebalance: so often, however long the session.
_HEARTBEAT_MILLISECONDS = 1_000
_RESTORE_MILLISECONDS = 300_000
_NEVER = 2**31 - 1
_SHOW_SECONDS = 2.0
#: Between two looks at whether the worker is to stop.
_LOOK_UP_SECONDS = 0.5


class LoopConsumerThread(faust_driver.AIOKafkaConsumerThread):  # type: ignore[misc] # Faust is not typed for subclasses
    """Faust's consumer thread without the thread: no hand-over between loops for every call and every message."""

    def __init__(self, consumer: "ChunkConsumer", **options: Any) -> None:  # noqa: ANN401 # Faust's own
        super().__init__(consumer, thread_loop=options.get("loop") or asyncio.get_event_loop(), **options)

    async def start(self) -> None:
        """Connect the consumer in this loop."""
        self._thread_started.set()
        self._started.set()
        self._consumer = self._create_consumer(loop=self.thread_loop)
        self.time_started = monotonic()
        await self._consumer.start()

    async def stop(self) -> None:
        """Leave the consumer group and disconnect."""
        if self._started.is_set() and not self._stopped.is_set():
            self._stopped.set()
            await self._consumer.stop()
            self._shutdown.set()

    async def call_thread(self, function: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # Faust's own
        """Call at once what Faust would have handed to the thread."""
        result = function(*args, **kwargs)
        return await result if asyncio.iscoroutine(result) or asyncio.isfuture(result) else result

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Pass on that partitions are being taken away."""
        await self.consumer.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Pass on which partitions are this worker's."""
        await self.consumer.on_partitions_assigned(assigned, generation_id)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit group offsets, and raise what refuses them: Faust would end the worker, to which they mean nothing."""
        await self._ensure_consumer().commit({TopicPartition(*place): offset for place, offset in offsets.items()})
        return True

    def _create_worker_consumer(self, transport: "ChunkTransport") -> AIOKafkaConsumer:
        settings: Settings = transport.app.stream_qa_settings
        session = int(settings.session_timeout_seconds * 1000)
        return Member(
            **settings.kafka.options(),
            client_id=settings.group_id,
            group_id=settings.group_id,
            group_instance_id=instance_id(settings),
            partition_assignment_strategy=[
                TogetherAssignor(settings.groups, partitions_on_disk(settings.state_directory))
            ],
            session_timeout_ms=session,
            # A member that restores its tables answers a rebalance when it has done so.
            rebalance_timeout_ms=_RESTORE_MILLISECONDS,
            # aiokafka would leave the group while nothing is asked for, as during a long restore.
            max_poll_interval_ms=_NEVER,
            heartbeat_interval_ms=_HEARTBEAT_MILLISECONDS,
            enable_auto_commit=False,
            # Lanes seek to the position in their state; this is only for the moment before.
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_FETCH_WAIT_MILLISECONDS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )


class ChunkConsumer(faust_driver.Consumer):  # type: ignore[misc] # Faust is not typed for subclasses
    """Hands over chunks of records for the lanes that are open, and shows their positions as group offsets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 # Faust's own
        super().__init__(*args, **kwargs)
        self._lanes: Lanes = self.app.lanes
        self.revocations = 0
        """How often partitions were taken away."""
        self._may_show = False
        self._showing = asyncio.Lock()

    @property
    def kafka_consumer(self) -> AIOKafkaConsumer:
        """The consumer underneath."""
        return cast("AIOKafkaConsumer", self._thread._ensure_consumer())  # noqa: SLF001 # no public way in Faust

    def _new_consumer_thread(self) -> LoopConsumerThread:
        return LoopConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def is_member(self) -> bool:
        """Whether the group still counts on this worker, asked now."""
        coordinator = self.kafka_consumer._coordinator  # noqa: SLF001 # a heartbeat is the question, and it says no more
        return bool(await coordinator._do_heartbeat())  # noqa: SLF001

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """Return the first offset of each place, and the one after its last."""
        partitions = [TopicPartition(*place) for place in places]
        beginnings = await self.kafka_consumer.beginning_offsets(partitions)
        ends = await self.kafka_consumer.end_offsets(partitions)
        return {(place.topic, place.partition): (beginnings[place], ends[place]) for place in partitions}

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has, as far as is known here."""
        return len(self.kafka_consumer.partitions_for_topic(topic) or ())

    def seek_lanes(self, offsets: Mapping[Place, int]) -> None:
        """Move to ``offsets``."""
        for place, offset in offsets.items():
            self.kafka_consumer.seek(TopicPartition(*place), offset)

    def pass_by(self, offsets: Mapping[Place, int]) -> None:
        """Go on at ``offsets``, where that is further on: what comes before it is known."""
        for place, offset in offsets.items():
            fetched.pass_by(self.kafka_consumer._fetcher, TopicPartition(*place), offset)  # noqa: SLF001

    async def perform_seek(self) -> None:
        """Seek to the committed group offsets: not here, lanes know where they are."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish what is in flight while the partitions are still ours."""
        self.revocations += 1
        self._may_show = False
        await self._lanes.pause()
        async with self._showing:  # none is in flight any more, and none begins before the lanes are open again
            pass
        await super().on_partitions_revoked(revoked)

    def show_offsets(self, revocations: int) -> None:
        """Show the lanes' positions from now on, unless partitions were taken away after so many ``revocations``."""
        self._may_show = revocations == self.revocations

    async def on_stop(self) -> None:
        """Finish what is in flight, show where it ended, and leave."""
        await self._lanes.pause()
        await super().on_stop()
        await self._lanes.close()

    # Group offsets are a shop window for lag monitors: what the lanes have committed in their own tables.

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:  # noqa: ANN401, ARG002 # Faust's own
        return iter([TP(*place) for place in self._lanes.places()])

    def _new_offset(self, tp: TP) -> int | None:
        return self._lanes.position((tp.topic, tp.partition))

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Show offsets, and those that could not be shown again the next time: Faust takes them for shown."""
        before = {tp: self._committed_offset[tp] for tp in offsets}
        shown = bool(await super()._commit_offsets(offsets, start_new_transaction))
        if not shown:
            self._committed_offset.update(before)
        return shown

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # In a rebalance it would wait behind the request to join, be refused as of a generation that is over, and the
        # library would then give up the membership that it has just got, for ever in turn.
        if not self._may_show:
            return False
        try:
            # Without a broker the library would try for ever, also while the worker is to stop.
            async with self._showing, asyncio.timeout(_SHOW_SECONDS):
                return bool(await super()._commit(offsets))
        except (KafkaError, TimeoutError) as error:
            _log.warning("the group's offsets could not be shown: %r", error)
            return False

    @Service.task  # type: ignore[untyped-decorator] # Faust's services are not typed
    async def _watch_the_group(self) -> None:
        """End the worker on an error that aiokafka keeps until somebody asks, as its own calls for records would.

        Otherwise a worker that can never join its group again would live on and do nothing.
        """
        while not self.should_stop:
            await self.sleep(_LOOK_UP_SECONDS)
            coordinator = getattr(self._thread._consumer, "_coordinator", None)  # noqa: SLF001
            try:
                if coordinator is not None and not self.should_stop:
                    coordinator.check_errors()
            except (KafkaError, StreamQAError) as error:
                self.app.fail(error)

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ANN401 # Faust's own
        """Hand chunks to the agents until the worker stops."""
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 # as Faust does
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                    continue
                for chunk in await self._take():
                    await self.callback(self._message(chunk))
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except Exception as error:  # noqa: BLE001 # Faust would end in an orderly way, which may never come to its end
            if not self.app.should_stop:
                self.app.fail(error)

    def _message(self, chunk: Chunk) -> ConsumerMessage:
        return ConsumerMessage(
            topic=chunk.topic,
            partition=chunk.partition,
            offset=chunk.end - 1,
            timestamp=monotonic(),
            timestamp_type=0,
            headers=None,
            key=None,
            value=chunk,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=TP(chunk.topic, chunk.partition),
            generation_id=self.app.consumer_generation_id,
        )

    async def _take(self) -> list[Chunk]:
        """Return all that is fetched for lanes that can take it; wait a while where there is nothing."""
        fetcher = self.kafka_consumer._fetcher  # noqa: SLF001 # aiokafka's public calls hide the offset ranges
        self._lanes.room.clear()
        chunks = [chunk for place in list(fetcher._records) if (chunk := self._chunk(fetcher, place)) is not None]  # noqa: SLF001
        if not chunks:
            room = asyncio.ensure_future(self._lanes.room.wait())
            try:
                await fetched.wait(fetcher, _LOOK_UP_SECONDS, room)
            finally:
                room.cancel()
        return chunks

    def _chunk(self, fetcher: Any, place: TopicPartition) -> Chunk | None:  # noqa: ANN401
        """Take what is fetched for one partition; ``None`` where its lane cannot take it now."""
        session = self._lanes.session(tuple(place))
        # What is no result is an error of the partition's, which is raised whether the lane is open or not.
        if session is None and fetched.is_result(fetcher, place):
            return None
        found = fetched.take(fetcher, place, fetched.record)
        if session is None or found is None:
            return None
        return Chunk(place.topic, place.partition, session, found.start, found.end, found.records, found.behind)


class ChunkTransport(faust_driver.Transport):  # type: ignore[misc] # Faust is not typed for subclasses
    """Faust's aiokafka transport with our consumer."""

    Consumer = ChunkConsumer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:{ChunkTransport.__name__}"
