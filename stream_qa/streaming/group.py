"""A group: the lanes of some partition numbers, in one worker, that take turns and share their transactions."""

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from stream_qa.errors import CorruptTableError, FencedError, ModelMissingError, OutcomeUnknownError
from stream_qa.events import Message, Record
from stream_qa.streaming.batches import Batches, Destination, Written
from stream_qa.streaming.lane import Lane, Work
from stream_qa.streaming.metrics import Counts
from stream_qa.streaming.sources import Chunk

_log = logging.getLogger(__name__)

#: How often a worker may be fenced in one assignment, by a timeout of the broker's; more often means somebody else.
_FENCED_AT_MOST = 3

Destine = Callable[[Message], Destination]


class Transactional(Protocol):
    """The transactions of a group: :class:`~stream_qa.streaming.transactions.Transactions`."""

    async def initialise(self) -> None:
        """Fence former owners."""

    async def write(self, batches: Batches) -> dict[Destination, Written]:
        """Write in the open transaction, or begin one; return where it is in each partition."""

    async def commit(self) -> None:
        """Commit all that was written, or nothing."""

    async def abort(self) -> None:
        """Take back what was written."""


def group_of(partition: int, groups: int) -> int:
    """Return the group of a partition number: every group has as many, but for one."""
    return partition % groups


def telling(failed: Callable[[BaseException], None]) -> Callable[["asyncio.Task[None]"], None]:
    """Return what tells ``failed`` of the error with which a task has ended, if it has with one."""

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed(error)

    return ended


class LaneGroup:
    """Takes the chunks of its lanes through their stages, a transaction at a time.

    Parameters
    ----------
    name
        Which group it is.
    lanes
        Those of each partition in the order of the flow.
    transactions
        Those of this group.
    destine
        Says where a stage's message goes.
    fences
        Those by which former owners may have written to these lanes' partitions besides.
    reopen
        Makes the lanes ready again after an error that the changelogs mend, as after an assignment.
    counts
        Where what is committed is counted.
    model_here
        Returns when a model is here that a label names.
    most
        Records of a lane in one transaction, about.
    pause
        Seconds from one transaction to the next, unless a lane has ``most`` records waiting.
    committed
        Called after every transaction: there is room for new chunks.
    failed
        Called with what went wrong, where going on would be wrong.
    """

    def __init__(
        self,
        name: str,
        lanes: Sequence[Lane],
        transactions: Transactional,
        destine: Destine,
        reopen: Callable[["LaneGroup"], Awaitable[None]],
        *,
        fences: Sequence[Transactional] = (),
        counts: Counts,
        model_here: Callable[[str], Awaitable[None]],
        most: int,
        pause: float,
        committed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.lanes = lanes
        stages = dict.fromkeys(lane.stage for lane in lanes)
        self._stages = [[lane for lane in lanes if lane.stage == stage] for stage in stages]
        # What has several sources takes them in the order of event time: it is not handed a part of one.
        self._readers = {
            (topic, lane.partition): lane for lane in lanes if len(lane.sources) == 1 for topic in lane.sources
        }
        self.transactions = transactions
        self.fences = fences
        self._destine = destine
        self._reopen = reopen
        self._counts = counts
        self._model_here = model_here
        self._most = most
        self._pause = pause
        self._committed = committed
        self._failed = failed
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._committing = False
        self._fenced = 0

    @property
    def partitions(self) -> list[int]:
        """The partition numbers of its lanes."""
        return sorted({lane.partition for lane in self.lanes})

    @property
    def is_open(self) -> bool:
        """Whether all its lanes take chunks."""
        return all(lane.is_open for lane in self.lanes)

    def start(self) -> None:
        """Run until stopped."""
        self._stopping = False
        self._fenced = 0
        self._task = asyncio.create_task(self._run(), name=f"group {self.name}")

        self._task.add_done_callback(telling(self._failed))

    async def stop(self, seconds: float) -> None:
        """Let the transaction in flight end, and forget all that has not been begun.

        One that has not ended after ``seconds`` is left to the log: whoever opens these lanes next finds out there.
        """
        self._stopping = True
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            if self._committing:
                await asyncio.wait([task], timeout=seconds)
            task.cancel()
            await asyncio.wait([task])
        self._drop()

    def send(self, lane: Lane, message: Message) -> None:
        """Send a message for a lane of this group with the next transaction."""
        lane.send(message)
        self._wake.set()

    def add(self, lane: Lane, chunk: Chunk) -> None:
        """Queue a chunk for a lane of this group."""
        if lane.add(chunk):
            self._wake.set()

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._work()
            except (OutcomeUnknownError, FencedError, CorruptTableError, ModelMissingError) as error:
                self._drop()
                self._counts.interrupted(error)
                self._fenced += isinstance(error, FencedError)
                if self._fenced > _FENCED_AT_MOST:
                    raise
                if self._stopping:
                    return
                where = {"partitions": self.partitions, "reason": type(error).__name__}
                _log.warning("partitions %s go back to what is committed: %s", self.partitions, error, extra=where)
                if isinstance(error, ModelMissingError):
                    await self._model_here(error.version)
                await self._reopen(self)

    async def _work(self) -> None:
        """Step and commit until stopped."""
        while not self._stopping:
            self._wake.clear()
            began = time.monotonic()
            try:
                is_committed = await self._transact()
            except Exception:
                # Readers of committed records would wait for the end of what is open.
                await self.transactions.abort()
                raise
            finally:
                self._committing = False
            if not is_committed:
                await self._until_woken()
                continue
            self._committed()
            if all(lane.queued < self._most for lane in self.lanes):
                await asyncio.sleep(max(0, began + self._pause - time.monotonic()))

    async def _until_woken(self) -> None:
        """Wait for a chunk, or for the end of the patience with a source that is behind."""
        waits = [seconds for lane in self.lanes if (seconds := lane.waiting.waits) is not None]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), min(waits, default=None))

    def _drop(self) -> None:
        for lane in self.lanes:
            lane.drop()

    async def _transact(self) -> bool:
        """Take what waits through all stages in one transaction; return whether there was anything.

        What a stage writes to a lane of this group, the next stage takes from there in the same transaction: its
        offsets are known, and nothing can come before it. What goes elsewhere is fetched there.
        """
        work: dict[Lane, Work] = {}
        written: dict[Destination, Written] = {}
        counts: Counter[str] = Counter()
        began = time.monotonic()
        for lanes in self._stages:
            done = await self._step(lanes)
            if not done:
                continue
            if not work:
                self._committing, began = True, time.monotonic()
            work |= done
            batches, for_us = self._batches(done)
            found = await self.transactions.write(batches)
            written |= found
            counts += batches.counts()
            for destination, messages in for_us.items():
                self._hand_over(destination, found[destination], messages, batches.timestamp)
        if not work:
            return False
        await self.transactions.commit()
        self._counts.committed(
            ((lane.stage, done) for lane, done in work.items()),
            counts,
            seconds=time.monotonic() - began,
            now=round(time.time() * 1000),
        )
        self._store(work, written)
        return True

    async def _step(self, lanes: Sequence[Lane]) -> dict[Lane, Work]:
        """Process what waits for a stage. Each lane sees what is committed, not what the others are about to write."""
        work = {}
        for lane in lanes:
            if (done := lane.step(self._most)) is not None:
                work[lane] = done
                # Heartbeats and other groups have their turn.
                await asyncio.sleep(0)
        return work

    def _batches(self, work: Mapping[Lane, Work]) -> tuple[Batches, dict[Destination, list[Message]]]:
        """Return what the lanes of a stage emit, with their changelogs, and which of it is for lanes of this group."""
        batches = Batches()
        for_us: defaultdict[Destination, list[Message]] = defaultdict(list)
        for lane, done in work.items():
            for message in done.messages:
                destination = self._destine(message)
                batches.add(destination, message.key, message.value, message.headers)
                if destination in self._readers:
                    for_us[destination].append(message)
            batches.add_all((lane.changelog, lane.partition), done.changes)
        return batches, for_us

    def _hand_over(self, destination: Destination, written: Written, messages: Sequence[Message], sent_at: int) -> None:
        """Give a lane of this group what was written to its source, as it would fetch it."""
        lane = self._readers[destination]
        records = [
            Record(*destination, offset, message.key, message.value, message.headers, sent_at)
            for offset, message in enumerate(messages, written.first)
        ]
        lane.hand_over(Chunk(*destination, lane.session, written.first, written.last + 1, records), self._most)

    def _store(self, work: Mapping[Lane, Work], written: Mapping[Destination, Written]) -> None:
        """Write to the tables what is committed; what this does not get to is caught up from the changelogs."""
        for lane, done in work.items():
            if done.changes:
                lane.store(done, written[lane.changelog, lane.partition].last)
