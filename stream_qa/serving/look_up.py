"""One query for the coefficients of a request, off the event loop and for a bounded time."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from stream_qa.coefficients import LookedUp
from stream_qa.errors import StreamQAError
from stream_qa.events import EntityKind

_THREADS = 4


class Coefficients(Protocol):
    """What holds coefficients."""

    def look_up_both(
        self, entity_ids: Mapping[EntityKind, Sequence[str]], dimensions: Mapping[EntityKind, int] | None = None
    ) -> dict[EntityKind, LookedUp]:
        """Return what is held of entities of both sides; see :class:`stream_qa.coefficients.CoefficientStore`."""


class Found(NamedTuple):
    """What is held, or nothing of anybody and why."""

    held: dict[EntityKind, LookedUp]
    failure: str | None
    """One sentence where the coefficients could not be looked up."""


class LookUps:
    """Looks coefficients up. Where that fails or takes too long, there are none: the global model can still score.

    Parameters
    ----------
    coefficients
        Where they are.
    seconds
        How long a look-up may take.
    """

    def __init__(self, coefficients: Coefficients, seconds: float) -> None:
        self._coefficients = coefficients
        self._seconds = seconds
        # A store that hangs holds these threads and no others; what waits for them gives up in time.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="look-up")

    async def look_up(
        self, entity_ids: Mapping[EntityKind, Sequence[str]], dimensions: Mapping[EntityKind, int] | None = None
    ) -> Found:
        """Return what is held of entities, of those that have as many coefficients as ``dimensions`` says."""
        waiting = self._threads.submit(self._coefficients.look_up_both, entity_ids, dimensions)
        try:
            return Found(await asyncio.wait_for(asyncio.wrap_future(waiting), self._seconds), None)
        except TimeoutError:
            failure = f"the coefficient store did not answer within {self._seconds:g} seconds"
        except StreamQAError as error:
            failure = f"the coefficient store does not answer: {error}"
        nothing = {side: _nothing(len(ids), (dimensions or {}).get(side, 0)) for side, ids in entity_ids.items()}
        return Found(nothing, failure)

    def close(self) -> None:
        """Return when all look-ups that were begun have ended; there will be no others."""
        self._threads.shutdown()


def _nothing(count: int, dimension: int) -> LookedUp:
    none = np.zeros(count, np.int64)
    return LookedUp(np.zeros((count, dimension)), none, none, none, [""] * count)
