"""Whether the topics are followed: what readiness means here."""

import asyncio
import logging
from typing import Protocol

_log = logging.getLogger(__name__)


class Follower(Protocol):
    """Keeps a store and a model up to date."""

    @property
    def is_ready(self) -> bool:
        """Whether all that the topics had when it began is here."""

    @property
    def staleness(self) -> float | None:
        """Seconds since the store was seen to have all that there was; ``None`` before it was."""

    @property
    def refusal(self) -> str | None:
        """Why the model that was published last cannot be used here, in a sentence; ``None`` where it can."""

    async def caught_up(self) -> None:
        """Return when all that there was is here."""

    async def run(self) -> None:
        """Follow until stopped."""

    def stop(self) -> None:
        """Let :meth:`run` return."""


class Followed:
    """A follower and how it is.

    Scores are made whatever it says, with what the store has; it says what they lack.

    Parameters
    ----------
    follower
        What is run.
    most_seconds
        Of staleness, before there is something to say about it.
    """

    def __init__(self, follower: Follower, most_seconds: float) -> None:
        self._follower = follower
        self._most_seconds = most_seconds
        self._ended: str | None = None
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._following = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Follow no more."""
        self._follower.stop()
        if self._following is not None:
            await self._following

    async def caught_up(self) -> str | None:
        """Return, once it is followed, when all that there was is here; or why that will never be."""
        coming = asyncio.create_task(self._follower.caught_up())
        waiting = [coming] if self._following is None else [coming, self._following]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return self._ended
            coming.result()
            return None
        finally:
            coming.cancel()

    def not_ready(self) -> str | None:
        """Return why scores are not, or no more, as fresh as they should be; ``None`` where they are."""
        if self._ended is not None:
            return self._ended
        return None if self._follower.is_ready else "the topics are still being read to where they ended"

    @property
    def staleness(self) -> float | None:
        """Seconds since the coefficients were seen to be up to date; ``None`` before they were."""
        return self._follower.staleness

    def notices(self) -> list[str]:
        """Return what there is to say with every score."""
        notices = []
        reason, staleness, refusal = self.not_ready(), self.staleness, self._follower.refusal
        if reason is not None:
            notices.append(reason)
        elif staleness is not None and staleness > self._most_seconds:
            notices.append(f"the coefficients were last seen to be up to date {staleness:.0f} seconds ago")
        if refusal is not None:
            notices.append(refusal)
        return notices

    async def _run(self) -> None:
        try:
            await self._follower.run()
            self._ended = "the topics are not followed any more"
        except Exception as error:  # noqa: BLE001 # whatever ended it
            # The service goes on with what the store has; readiness says so, and whoever runs it decides.
            _log.exception("the topics are not followed any more")
            self._ended = f"the topics are not followed any more: {error}"
