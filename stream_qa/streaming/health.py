"""Whether a worker is well, for whoever starts, watches and restarts it: ``GET /livez`` and ``GET /readyz``.

Ready is a worker that processes what comes. Alive is one that a restart would not mend: what a broker that is away or a
missing bundle keeps it from does not count, but standing still with records to read does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, NamedTuple

import faust

from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming.lanes import Lanes
from stream_qa.topics import refusal

LIVE_PATH, READY_PATH = "/livez", "/readyz"
_OK, _UNAVAILABLE = 200, 503
#: Whoever asks does not wait for long, and takes a late answer for none.
_ANSWER_SECONDS = 2.0

Reason = Callable[[], Awaitable[str | None]]
"""Says in a sentence why a worker is not well; ``None`` where there is nothing to say."""


class Standing(NamedTuple):
    """Where something stands, and whether it should go on from there."""

    where: Hashable
    has_more: bool


class Stillness:
    """Notices what does not move although it should.

    It goes by what it is shown, however often that is: time counts from when something was first seen with more to do
    at the place where it still stands.

    Parameters
    ----------
    patience
        Seconds.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[str, tuple[Hashable, float]] = {}

    def look(self, standing: Mapping[str, Standing], now: float) -> dict[str, float]:
        """Return what has stood still for too long, with the seconds; what is not shown is forgotten."""
        since = {}
        for name, (where, has_more) in standing.items():
            if has_more:
                before = self._since.get(name)
                since[name] = before if before is not None and before[0] == where else (where, now)
        self._since = since
        return {name: now - began for name, (_, began) in since.items() if now - began >= self._patience}


_MORE = Standing(None, has_more=True)


class Health:
    """The reasons for which a worker is not ready, or not alive.

    Parameters
    ----------
    app
        The Faust application, whose agents must run.
    lanes
        The worker's lanes.
    kafka
        Where the brokers are.
    patience
        Seconds for which something may stand still.
    """

    def __init__(self, app: faust.App, lanes: Lanes, kafka: KafkaAccess, patience: float) -> None:
        self._app = app
        self._kafka = kafka
        self._lanes = lanes
        self._stillness = Stillness(patience)
        self.unready: list[Reason] = [lanes.problem]
        """Asked by ``/readyz``, in this order. Add to it whatever else keeps a worker from its work."""
        self.dead: list[Reason] = [self._agents, self._still]
        """Asked by ``/livez``: what a restart would mend."""

    def held_back(self) -> list[str]:
        """Return where coefficients are not published and why."""
        return self._lanes.held_back()

    async def _agents(self) -> str | None:
        """Faust would log that one has ended, and go on without it."""
        ended = [
            name
            for name, agent in self._app.agents.items()
            # Faust has no public way to ask.
            if agent.started and (actors := list(agent._actors)) and all(_has_ended(actor) for actor in actors)  # noqa: SLF001
        ]
        return f"the agents {', '.join(sorted(ended))} have ended" if ended else None

    async def _still(self) -> str | None:
        still = self._stillness.look(await self._standing(), time.monotonic())
        return "; ".join(f"{name} for {seconds:.0f} s" for name, seconds in sorted(still.items())) or None

    async def _standing(self) -> dict[str, Standing]:
        lanes = self._lanes
        behind = await lanes.behind()
        closed = sorted({lane.partition for lane in lanes.all() if not lane.is_open})
        is_settled = behind is not None and lanes.is_assigned and not closed
        # Not the worker's fault where a bundle is to be made readable, or the broker is away.
        if not is_settled and (lanes.waits_for_model or await self._broker_is_away()):
            return {}
        if behind is None:
            return {"a broker answers, but not to this worker's consumer": _MORE}
        if not lanes.is_assigned:
            return {"the group has not given this worker its partitions": _MORE}
        standing = {
            f"{lane} has not moved with records to read": Standing(
                tuple(sorted(lane.positions.items())), has_more=any(behind.get((lane, topic)) for topic in lane.sources)
            )
            for lane in lanes.all()
            if lane.is_open
        }
        if closed:
            restored = Standing(lanes.counts.restored, has_more=True)
            standing[f"the state of partitions {closed} is not restored and nothing more of it has come"] = restored
        return standing

    async def _broker_is_away(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await refusal(self._kafka) is not None
        except TimeoutError:
            return True


def add_health(app: faust.App, health: Health) -> None:
    """Add the pages: 200, or 503 with the reasons."""

    async def livez(view: Any, _request: Any) -> Any:  # noqa: ANN401 # Faust's own
        reasons = await _asked(health.dead)
        return view.json({"alive": not reasons, "reasons": reasons}, status=_UNAVAILABLE if reasons else _OK)

    async def readyz(view: Any, _request: Any) -> Any:  # noqa: ANN401 # Faust's own
        reasons = await _asked(health.unready)
        # No reason of its own: the worker has to go on learning for them to be published again.
        document = {"ready": not reasons, "reasons": reasons, "held_back": health.held_back()}
        return view.json(document, status=_UNAVAILABLE if reasons else _OK)

    app.page(LIVE_PATH)(livez)
    app.page(READY_PATH)(readyz)


async def _asked(reasons: list[Reason]) -> list[str]:
    return [said for reason in reasons if (said := await reason()) is not None]


def _has_ended(actor: Any) -> bool:  # noqa: ANN401 # Faust is not typed
    return actor.actor_task is not None and actor.actor_task.done()
