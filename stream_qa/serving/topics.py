"""What the service follows: coefficients into its store, and published models into what it scores by."""

import asyncio
from contextlib import suppress

from stream_qa.coefficients import CoefficientStore
from stream_qa.following import Follower
from stream_qa.settings import Settings
from stream_qa.stages.models import Models
from stream_qa.streaming.model_follower import ModelFollower


class TopicsFollower:
    """Follows both.

    Parameters
    ----------
    settings
        Of the broker and the topics.
    store
        Gets the coefficients.
    models
        Gets the models, as a worker's does: what does not fit the first one is refused.
    """

    def __init__(self, settings: Settings, store: CoefficientStore, models: Models) -> None:
        self._coefficients = Follower(store, settings.kafka, settings.topics)
        self._models = ModelFollower(settings, models, self._fail)
        self._models_are_read = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def is_ready(self) -> bool:
        """Whether all that the topics had when this began is here."""
        return self._coefficients.is_ready and self._models_are_read.is_set()

    @property
    def staleness(self) -> float | None:
        """Seconds since the store was seen to have all coefficients that there were; ``None`` before it was."""
        return self._coefficients.staleness

    @property
    def refusal(self) -> str | None:
        """Why the model that was published last cannot be used here, in a sentence; ``None`` where it can."""
        return self._models.refusal

    async def caught_up(self) -> None:
        """Return when the store was seen to have all coefficients that there were, and all models are here."""
        await self._models_are_read.wait()
        await self._coefficients.fresh()

    async def run(self) -> None:
        """Follow until stopped.

        Raises
        ------
        TopicsError
            A topic is missing or not the one that was followed before.
        StateError
            The store's own disk cannot be read or written.
        """
        reading = asyncio.create_task(self._read_models())
        try:
            await self._coefficients.run()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            await self._models.stop()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let :meth:`run` return."""
        self._coefficients.stop()

    async def _read_models(self) -> None:
        await self._models.start()
        self._models_are_read.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self.stop()
