"""A group: the lanes of one partition number. They live in one worker, take turns, and are committed together."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from stream_qa.errors import BrokerUnavailableError
from stream_qa.events import Message
from stream_qa.streaming.batch_producer import Destination, Entry
from stream_qa.streaming.lane import Chunk, Lane, Work

_log = logging.getLogger(__name__)

Send = Callable[[Mapping[Destination, Sequence[Entry]]], Awaitable[dict[Destination, int]]]
Destine = Callable[[Message], Destination]


class LaneGroup:
    """Takes the chunks of its lanes through their stages.

    Parameters
    ----------
    lanes
        In the order of the flow, so that what one stage has written is soon read by the next.
    send
        Sends messages and returns when the broker has them.
    destine
        Says where a stage's message goes.
    most
        Records of a lane in one commit, about.
    committed
        Called after every commit: there is room for new chunks.
    failed
        Called with what went wrong, if anything does.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        send: Send,
        destine: Destine,
        *,
        most: int,
        committed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.lanes = lanes
        self._send = send
        self._destine = destine
        self._most = most
        self._committed = committed
        self._failed = failed
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Run until stopped."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=f"lanes of partition {self.lanes[0].partition}")

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failed(error)

        self._task.add_done_callback(ended)

    async def stop(self, seconds: float) -> None:
        """Let the commit in flight end, and forget all that has not been begun.

        What has not ended after ``seconds`` never may: it fails, as the partitions are soon another worker's.
        """
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            _, pending = await asyncio.wait([self._task], timeout=seconds)
            if pending:
                self._failed(BrokerUnavailableError("the broker does not take what is in flight"))
            self._task = None
        for lane in self.lanes:
            lane.drop()

    def add(self, lane: Lane, chunk: Chunk) -> None:
        """Queue a chunk for a lane of this group."""
        if lane.add(chunk):
            self._wake.set()

    async def _run(self) -> None:
        while not self._stopping:
            work = self._step()
            if work:
                await self._commit(work)
                self._committed()
            else:
                self._wake.clear()
                await self._wake.wait()

    def _step(self) -> dict[Lane, Work]:
        """Process what waits. Each lane sees what is committed, not what the others are about to write."""
        return {lane: work for lane in self.lanes if (work := lane.step(self._most)) is not None}

    async def _commit(self, work: Mapping[Lane, Work]) -> None:
        """Send what the stages emit, then their changelogs, then write the tables.

        In this order a crash in between repeats messages, which their readers know, and loses nothing.
        """
        messages: defaultdict[Destination, list[Entry]] = defaultdict(list)
        changelogs: dict[Destination, list[Entry]] = {}
        for lane, done in work.items():
            for message in done.messages:
                messages[self._destine(message)].append((message.key, message.value, message.headers))
            changelogs[lane.changelog, lane.partition] = [(key, value, ()) for key, value in done.changes.items()]
        await self._send(messages)
        offsets = await self._send(changelogs)
        for lane, done in work.items():
            lane.store(done, offsets[lane.changelog, lane.partition])
