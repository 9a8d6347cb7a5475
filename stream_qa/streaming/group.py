"""A group: the lanes of some partition numbers, in one worker, that take turns and share their transactions."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from stream_qa.errors import (
    CorruptTableError,
    FencedError,
    ModelMissingError,
    OffsetsTakenError,
    OutcomeUnknownError,
)
from stream_qa.events import Message, Record
from stream_qa.streaming.batches import Batches, Destination, Written
from stream_qa.streaming.lane import Lane, Work
from stream_qa.streaming.metrics import Counts
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.tasks import telling

_log = logging.getLogger(__name__)

#: How often a worker may be fenced in one assignment, by a timeout of the broker's; more often means somebody else.
_FENCED_AT_MOST = 3
#: Transactions from when others have written between stages until nobody is expected to do so again.
_WARY_TRANSACTIONS = 1_000
#: Between attempts at opening lanes.
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0

Destine = Callable[[Message], Destination]


class Transactional(Protocol):
    """The transactions of a group: :class:`~stream_qa.streaming.transactions.Transactions`."""

    async def initialise(self) -> None:
        """Fence former owners."""

    async def write(self, batches: Batches) -> dict[Destination, Written]:
        """Begin a transaction and write; return where it is in each partition."""

    async def commit(self) -> None:
        """Commit all that was written, or nothing."""

    async def abort(self) -> None:
        """Take back what was written."""


def group_of(partition: int, groups: int) -> int:
    """Return the group of a partition number: every group has as many, but for one."""
    return partition % groups


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
    is_alone
        Whether nobody else writes to the lanes' sources but those of the first stage.
    reopen
        Makes the lanes ready again after an error that the changelogs mend, as after an assignment.
    counts
        Where what is committed is counted.
    model_here
        Returns when a model is here that a label names.
    most
        Records of a lane in one transaction, about; large ones are fewer, see ``STEP_BYTES``.
    pause
        Seconds from one transaction to the next, unless what waits in a lane fills its next step.
    committed
        Called after every transaction with where that ends which was handed over: there is room for new chunks.
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
        is_alone: bool,
        counts: Counts,
        model_here: Callable[[str], Awaitable[None]],
        most: int,
        pause: float,
        committed: Callable[[Mapping[Destination, int]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.lanes = lanes
        stages = dict.fromkeys(lane.stage for lane in lanes)
        self._stages = [[lane for lane in lanes if lane.stage == stage] for stage in stages]
        # What has several sources takes them in the order of event time: it is not handed a part of one.
        self._readers = {
            (topic, lane.partition): lane
            for lane in lanes
            if is_alone and len(lane.sources) == 1
            for topic in lane.sources
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
        self._wary = 0
        self._wait = 0.0
        """Seconds before it is opened again: none where something was committed since it was opened."""

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
        self._fenced = self._wary = 0
        self._wait = 0.0
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

    def wake(self) -> None:
        """Take a turn soon, though nothing has come."""
        self._wake.set()

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
            except (
                CorruptTableError,
                FencedError,
                ModelMissingError,
                OffsetsTakenError,
                OutcomeUnknownError,
            ) as error:
                self._drop()
                self._counts.interrupted(error)
                self._fenced += isinstance(error, FencedError)
                if self._fenced > _FENCED_AT_MOST:
                    raise
                if self._stopping:
                    return
                where = {"partitions": self.partitions, "reason": type(error).__name__}
                _log.warning("partitions %s go back to what is committed: %s", self.partitions, error, extra=where)
                if isinstance(error, OffsetsTakenError):
                    self._wary = _WARY_TRANSACTIONS
                if isinstance(error, ModelMissingError):
                    await self._model_here(error.version)
                # Without a commit the same is likely to fail again.
                await asyncio.sleep(self._wait)
                self._wait = min(max(2 * self._wait, FIRST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
                await self._reopen(self)

    async def _work(self) -> None:
        """Step and commit until stopped."""
        while not self._stopping:
            self._wake.clear()
            began = time.monotonic()
            try:
                handed = await self._transact()
            except Exception:
                # Readers of committed records would wait for the end of what is open.
                await self.transactions.abort()
                raise
            finally:
                self._committing = False
            if handed is None:
                await self._until_woken()
                continue
            self._wait = 0.0
            self._committed(handed)
            if not any(lane.has_left or lane.waiting.fills(self._most) for lane in self.lanes):
                await asyncio.sleep(max(0, began + self._pause - time.monotonic()))

    async def _until_woken(self) -> None:
        """Wait for a chunk, or for the end of the patience with a source that is behind."""
        waits = [seconds for lane in self.lanes if (seconds := lane.waiting.waits) is not None]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), min(waits, default=None))

    def _drop(self) -> None:
        for lane in self.lanes:
            lane.drop()

    async def _transact(self) -> dict[Destination, int] | None:
        """Take what waits through all stages in one transaction; return where ends what was handed over.

        ``None`` where there was nothing.

        What a stage emits for a lane of this group the next stage takes at once, by the offsets that it is going to
        have, and before the commit it is seen that it has them. What goes elsewhere is fetched there.
        """
        work: dict[Lane, Work] = {}
        batches = Batches()
        handed: dict[Destination, Written] = {}
        began = time.monotonic()
        self._check_tables()
        for lanes in self._stages:
            done = await self._step(lanes)
            if done and not work:
                self._committing, began = True, time.monotonic()
            work |= done
            for destination, messages in self._fill(batches, done).items():
                if (foreseen := self._hand_over(destination, messages, batches.timestamp)) is not None:
                    handed[destination] = foreseen
        if not work:
            return None
        written = await self.transactions.write(batches)
        self._check(handed, written)
        await self.transactions.commit()
        self._wary = max(0, self._wary - 1)
        self._counts.committed(
            ((lane.stage, done) for lane, done in work.items()),
            batches.counts(),
            seconds=time.monotonic() - began,
            now=round(time.time() * 1000),
        )
        self._store(work, written)
        return {destination: last + 1 for destination, (_, last) in handed.items()}

    def _check_tables(self) -> None:
        """See that nobody has met damage in a table since the last step, be it outside of one.

        Raises
        ------
        CorruptTableError
            Somebody has: it is mended when the lanes are opened again.
        """
        for lane in self.lanes:
            if lane.table.is_damaged:
                raise CorruptTableError(f"the table of {lane} is damaged")

    async def _step(self, lanes: Sequence[Lane]) -> dict[Lane, Work]:
        """Process what waits for a stage. Each lane sees what is committed, not what the others are about to write."""
        work = {}
        for lane in lanes:
            if (done := lane.step(self._most)) is not None:
                work[lane] = done
                # Heartbeats and other groups have their turn.
                await asyncio.sleep(0)
        return work

    def _fill(self, batches: Batches, work: Mapping[Lane, Work]) -> dict[Destination, list[Message]]:
        """Add what the lanes of a stage emit, and their changelogs; return which of it is for lanes of this group."""
        for_us: defaultdict[Destination, list[Message]] = defaultdict(list)
        for lane, done in work.items():
            for message in done.messages:
                destination = self._destine(message)
                batches.add(destination, message.key, message.value, message.headers)
                if destination in self._readers:
                    for_us[destination].append(message)
            batches.add_all((lane.changelog, lane.partition), done.changes)
        return for_us

    def _hand_over(self, destination: Destination, messages: Sequence[Message], sent_at: int) -> Written | None:
        """Give a lane of this group what goes to its source; return the offsets that it is given it by.

        ``None`` where it is left to be fetched: something else comes before it, or much waits there already.
        """
        lane, (topic, _) = self._readers[destination], destination
        first = lane.waiting.next_offset(topic)
        if first is None or self._wary or lane.waiting.fills(self._most):
            return None
        records = [
            Record(*destination, offset, message.key, message.value, message.headers, sent_at)
            for offset, message in enumerate(messages, first)
        ]
        lane.waiting.hand_over(Chunk(*destination, lane.session, first, first + len(records), records))
        return Written(first, first + len(records) - 1)

    def _check(self, handed: Mapping[Destination, Written], written: Mapping[Destination, Written]) -> None:
        """See that what was handed over has the offsets it was handed over by.

        Raises
        ------
        OffsetsTakenError
            Somebody else has written there.
        """
        for (topic, partition), foreseen in handed.items():
            if (found := written[topic, partition]) != foreseen:
                raise OffsetsTakenError(
                    f"others write to {topic}-{partition}: offsets {foreseen.first} to {foreseen.last} were to be ours "
                    f"and are {found.first} to {found.last}"
                )
        for (topic, partition), (_, last) in written.items():
            if (lane := self._readers.get((topic, partition))) is not None:
                lane.waiting.wrote(topic, last)

    def _store(self, work: Mapping[Lane, Work], written: Mapping[Destination, Written]) -> None:
        """Write to the tables what is committed; what this does not get to is caught up from the changelogs."""
        for lane, done in work.items():
            if done.changes:
                lane.store(done, written[lane.changelog, lane.partition].last)
