"""One generation as a service answers by it: its model, its store, its look-ups, and the follower of its topics."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream_qa.bundle import load_published
from stream_qa.coefficients import CoefficientStore
from stream_qa.events import Generation
from stream_qa.following import open_store
from stream_qa.serving.followed import Followed
from stream_qa.serving.look_up import LookUps
from stream_qa.serving.scoring import Scorer
from stream_qa.serving.topics import TopicsFollower
from stream_qa.settings import Settings
from stream_qa.stages.models import Models
from stream_qa.stages.pipeline import first_model


@dataclass(frozen=True, eq=False)
class Served:
    """All that answers, of one generation: a request takes it once and uses nothing else."""

    generation: int
    scorer: Callable[[], Scorer]
    """Returns what scores now: another one when a new model was published."""
    store: CoefficientStore
    look_ups: LookUps
    followed: Followed

    async def end(self) -> None:
        """Follow no more, let the look-ups that were begun come to their ends, and close the store."""
        await self.followed.stop()
        await asyncio.to_thread(self.look_ups.close)
        await asyncio.to_thread(self.store.close)


def open_served(settings: Settings) -> Served:
    """Return the generation of these settings, not yet followed.

    Raises
    ------
    BundleError
        The model bundle cannot be used.
    DiskError, StoreUnavailableError, MissingExtraError
        The coefficient store cannot be opened.
    """
    models = Models(first_model(settings))
    store = open_store(settings.serve_store, settings.topic_prefix, settings.generation)
    return Served(
        settings.generation,
        lambda: Scorer.of(models.newest),
        store,
        LookUps(store, settings.serve_look_up_seconds),
        Followed(TopicsFollower(settings, store, models), settings.serve_stale_seconds),
    )


def open_generation(settings: Settings, generation: Generation) -> Served:
    """Return a generation that was switched to; the one of the settings has its bundle where they say.

    Raises
    ------
    BundleError
        Its model bundle cannot be used here.
    DiskError, StoreUnavailableError, MissingExtraError
        The coefficient store cannot be opened.
    """
    if generation.generation == settings.generation:
        return open_served(settings)
    bundle = generation.bundle
    if bundle is not None:
        load_published(bundle)  # whether it still is that one
    location = None if bundle is None else Path(bundle.location)
    changed = {"generation": generation.generation, "bundle": location, "warm_start": False}
    return open_served(settings.model_copy(update=changed))
