"""Published models on their way into the stages: read, checked, and there for the next chunk."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import NamedTuple

from aiokafka.errors import KafkaError

from stream_qa.bundle import load_published
from stream_qa.errors import BrokerUnavailableError, ModelMissingError, ModelRefusedError, StreamQAError
from stream_qa.settings import Settings
from stream_qa.stages.models import Model, Models
from stream_qa.stages.pipeline import model_of
from stream_qa.streaming.model_topic import Numbered, published
from stream_qa.streaming.tasks import telling

_log = logging.getLogger(__name__)

_AGAIN_SECONDS = 2.0
_STOP_SECONDS = 2.0


class _Problem(NamedTuple):
    """Why a model cannot be used here."""

    sentence: str
    is_lasting: bool = False
    """Whether another attempt would end alike."""


_UNPUBLISHED = _Problem("nobody has published it")


class ModelFollower:
    """Follows the topic of models.

    Parameters
    ----------
    settings
        The worker's settings.
    models
        Where models that can be used are put.
    failed
        Called with what went wrong where going on would be wrong.
    """

    def __init__(self, settings: Settings, models: Models, failed: Callable[[BaseException], None]) -> None:
        self._settings = settings
        self._models = models
        self._failed = failed
        self._offered: dict[str, Numbered] = {}
        self._last: Numbered | None = None
        """What was published last."""
        self._problems: dict[str, _Problem] = {}
        """By version."""
        self._again_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._waited_for: list[str] = []
        self._read = asyncio.Event()
        self._stopping = False

    @property
    def refusal(self) -> str | None:
        """Why the model that was published last cannot be used here, in a sentence; ``None`` where it can."""
        if self._last is None or self._last.model.version not in self._problems:
            return None
        version = self._last.model.version
        return f"model {version} was published last and cannot be used here: {self._problems[version].sentence}"

    @property
    def waited_for(self) -> str | None:
        """Which model that labels name is waited for and why, in a sentence; ``None`` where none is."""
        for version in self._waited_for:
            problem = self._problems.get(version) if version in self._offered else _UNPUBLISHED
            if problem is not None:
                return f"labels name model {version}, and it cannot be used here: {problem.sentence}"
        return None

    async def start(self) -> None:
        """Follow until stopped; return when all that was published is there."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="models")
            self._task.add_done_callback(telling(self._failed))
        await self._read.wait()

    async def stop(self) -> None:
        """Follow no more."""
        self._stopping = True
        if self._task is not None:
            # The client leaves connections open that it is just about to make when it is cancelled.
            await asyncio.wait([self._task], timeout=_STOP_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def wait_for(self, version: str) -> None:
        """Return when a model is there, trying to read its bundle again and again."""
        self._waited_for.append(version)
        try:
            await self._until_here(version)
        finally:
            self._waited_for.remove(version)

    async def _until_here(self, version: str) -> None:
        said: _Problem | None = None
        while True:
            try:
                self._models.get(version)
            except ModelMissingError:
                offered = self._offered.get(version)
                problem = _UNPUBLISHED if offered is None else await self._take_in(offered)
            else:
                return
            if problem is not None and problem != said:
                _log.error(
                    "labels name model %s, and it cannot be used here: %s; waiting for it", version, problem.sentence
                )
                said = problem
            await asyncio.sleep(0 if problem is None else _AGAIN_SECONDS)

    async def _follow(self) -> None:
        while not self._stopping:
            try:
                async with aclosing(published(self._settings.kafka, self._settings.topics.models)) as found:
                    async for models in found:
                        for offered in models:
                            await self._hear(offered)
                        self._read.set()
                        if self._stopping:
                            break
                        await self._try_again()
            except (KafkaError, BrokerUnavailableError, OSError) as error:
                _log.warning("the models cannot be read, trying again: %r", error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _hear(self, offered: Numbered) -> None:
        self._offered[offered.model.version] = self._last = offered
        await self._take_up(offered, None)

    async def _try_again(self) -> None:
        """Take up the model that was published last, where it could not be read: its files may have come since."""
        if self._last is None or time.monotonic() < self._again_at:
            return
        said = self._problems.get(self._last.model.version)
        if said is not None and not said.is_lasting:
            await self._take_up(self._last, said)

    async def _take_up(self, offered: Numbered, said: _Problem | None) -> None:
        """Take a model in and say what came of it, unless that was said before."""
        number, model = offered
        problem = await self._take_in(offered)
        self._again_at = time.monotonic() + _AGAIN_SECONDS
        newest = self._models.newest
        if problem is not None and problem != said:
            _log.error("model %s is refused, %s stays: %s", model.version, newest.version, problem.sentence)
        elif problem is None and newest.number == number:
            _log.info("model %s, number %d, is taken up with the next chunks", model.version, number)

    async def _take_in(self, offered: Numbered) -> _Problem | None:
        """Read a model and put it where the stages find it; return why that cannot be done."""
        model = offered.model
        try:
            self._models.add(await asyncio.to_thread(self._read_model, offered))
        except StreamQAError as error:
            problem = _Problem(str(error), is_lasting=isinstance(error, ModelRefusedError))
            self._problems[model.version] = problem
            return problem
        self._problems.pop(model.version, None)
        return None

    def _read_model(self, offered: Numbered) -> Model:
        """Read a model, not in the loop: with a warm start it can take seconds."""
        return model_of(self._settings, load_published(offered.model), offered.number)
