"""A server that follows the coefficients while faults strike, and is broken off itself between them."""

import asyncio
import time
from pathlib import Path

from stream_qa.coefficients import CoefficientStore
from stream_qa.following import Follower, RocksDBBackend
from stream_qa.settings import Settings

_LOOK_AGAIN_SECONDS = 0.05

Held = dict[tuple[str, str], tuple[int, bytes, int, int, str]]
"""By side and id: version, vector, labels, newest event time and model version."""


def held(store: CoefficientStore) -> Held:
    """Return what a store holds, comparable to the last bit."""
    return {
        (side, entity_id): (each.version, each.vector.tobytes(), each.labels, each.newest_at, each.model_version)
        for side, entity_id, each in store.entities()
    }


class Server:
    """A follower and its store on disk.

    Parameters
    ----------
    settings
        Where the topics are.
    directory
        Of the store.
    """

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = settings
        self._store = CoefficientStore(RocksDBBackend(directory))
        self._begin()

    async def break_off(self) -> None:
        """End following in the middle of whatever it does, and begin anew from what the store has."""
        await self._end()
        self._begin()

    async def end(self, patience_seconds: float) -> Held | None:
        """Return what is held when all of the topics is followed; ``None`` where that does not come in time."""
        now, deadline = time.time(), time.monotonic() + patience_seconds
        try:
            while time.monotonic() < deadline:
                if self._following.done():
                    self._following.result()
                staleness = self._follower.staleness
                if staleness is not None and time.time() - staleness > now:
                    return held(self._store)
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            return None
        finally:
            await self._end()
            self._store.close()

    def _begin(self) -> None:
        self._follower = Follower(self._store, self._settings.kafka, self._settings.topics)
        self._following = asyncio.create_task(self._follower.run())

    async def _end(self) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
