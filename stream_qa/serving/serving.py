"""Which generation answers, and the change-over to another one, which is filled beside and takes its place at once."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress

from aiokafka.errors import KafkaError

from stream_qa.errors import StreamQAError
from stream_qa.events import Generation
from stream_qa.serving.served import Served
from stream_qa.settings import Settings
from stream_qa.streaming.generation_topic import generations

_log = logging.getLogger(__name__)

_AGAIN_SECONDS = 2.0
_STOP_SECONDS = 2.0

Switches = Callable[[], AsyncGenerator[Generation | None, None]]
"""Yields which generation is to serve, from time to time; ``None`` as long as nobody has said."""


class Serving:
    """Serves one generation, and goes over to another one when that is said and it has been filled.

    Parameters
    ----------
    first
        The generation to begin with; it serves until the topic says otherwise.
    open_generation
        Opens another one.
    switches
        Which is to serve.
    """

    def __init__(self, first: Served, open_generation: Callable[[Generation], Served], switches: Switches) -> None:
        self._now = first
        self._first = first.generation
        self._open = open_generation
        self._switches = switches
        self._wanted: Generation | None = None
        self._is_heard = False
        """Whether it was read once which is to serve."""
        self._is_settled = False
        """Whether that one has answered once; until then another instance may be better."""
        self._unread: str | None = None
        """Why it cannot be read which is to serve."""
        self._unserved: str | None = None
        """Why that one cannot answer."""
        self._changed = asyncio.Event()
        self._stopping = False

    def now(self) -> Served:
        """Return what answers now."""
        return self._now

    def not_ready(self) -> str | None:
        """Return why scores are not, or no more, as fresh as they should be; ``None`` where they are."""
        if self._is_settled:
            return self._now.followed.not_ready()
        if self._is_heard:
            return self._unserved or f"generation {self._number()} is being filled"
        return self._unread or "it is being read which generation serves"

    def notices(self) -> list[str]:
        """Return what there is to say of the service."""
        notices = [each for each in (self._unread, self._unserved) if each is not None]
        if self._number() != self._now.generation and self._unserved is None:
            notices.append(f"generation {self._number()} is being filled; {self._now.generation} answers until then")
        return notices + self._now.followed.notices()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow while the context is entered."""
        self._now.followed.start()
        tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._keep_up())]
        try:
            yield
        finally:
            self._stopping = True
            self._changed.set()
            # The client leaves connections open that it is just about to make when it is cancelled.
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._now.end()

    def _number(self) -> int:
        """Return which generation is to serve."""
        return self._first if self._wanted is None else self._wanted.generation

    async def _hear(self) -> None:
        """Take note of which generation is to serve, until stopped."""
        while not self._stopping:
            try:
                async with aclosing(self._switches()) as switches:
                    async for wanted in switches:
                        if self._stopping:
                            return
                        self._unread = None
                        if not self._is_heard or wanted != self._wanted:
                            self._want(wanted)
            except (KafkaError, StreamQAError, OSError) as error:
                if self._unread is None:
                    _log.warning("it cannot be read which generation is to serve, trying again: %s", error)
                self._unread = f"it cannot be read which generation is to serve: {error}"
                await self._pause()

    def _want(self, wanted: Generation | None) -> None:
        self._wanted, self._is_heard, self._unserved = wanted, True, None
        self._is_settled |= self._number() == self._now.generation
        self._changed.set()

    async def _keep_up(self) -> None:
        """Change over whenever another generation is to serve, until stopped."""
        while not self._stopping:
            self._changed.clear()
            wanted = self._wanted
            if wanted is None or wanted.generation == self._now.generation:
                await self._changed.wait()
            elif (problem := await self._change_over(wanted)) is not None:
                if problem != self._unserved:
                    _log.error(problem)
                self._unserved = problem
                await self._pause()

    async def _change_over(self, wanted: Generation) -> str | None:
        """Fill a generation, and let it answer; return why that cannot be done.

        Where another one is to serve meanwhile, or the service is to end, it is given up.
        """
        cannot = f"generation {wanted.generation} is to be served and cannot be"
        try:
            new = await asyncio.to_thread(self._open, wanted)
        except StreamQAError as error:
            return f"{cannot}: {error}"
        _log.info("generation %d is being filled", wanted.generation)
        new.followed.start()
        filled, changed = asyncio.create_task(new.followed.caught_up()), asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait([filled, changed], return_when=asyncio.FIRST_COMPLETED)
            if not filled.done():
                left, problem = new, None
            elif (reason := filled.result()) is not None:
                left, problem = new, f"{cannot}: {reason}"
            else:
                left, problem = self._now, None
                self._now = new
                self._unserved, self._is_settled = None, True
                _log.info("generation %d answers from now on, instead of %d", new.generation, left.generation)
        except asyncio.CancelledError:
            left = new
            raise
        finally:
            for task in (filled, changed):
                task.cancel()
            await left.end()
        return problem

    async def _pause(self) -> None:
        """Wait before something is tried again, or until something has changed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), _AGAIN_SECONDS)


def switches_of(settings: Settings) -> Switches:
    """Return what reads which generation is to serve from the topic."""

    async def switches() -> AsyncGenerator[Generation | None, None]:
        async with aclosing(generations(settings.kafka, settings.topics.generations)) as found:
            async for known in found:
                yield known.serving

    return switches
