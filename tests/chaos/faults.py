"""The faults: each strikes, puts back what it broke, and says from when on work is awaited."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from ground import PARTITIONS

from chaos.commits import Commits, Since
from chaos.instants import Instant
from chaos.workers import READY, WorkerPlace
from stream_qa.broker import DevelopmentBroker

#: Beyond the session of the workers, so that another has taken over before a paused one goes on.
_BEYOND_SESSION = (1.5, 3.0)
_DOWN_SECONDS = (0.0, 3.0)
_INSTANT_SECONDS = 40.0
_READY_SECONDS = 60.0
_AFTER = (0, 25)
_LOOK_UP_SECONDS = 0.1


class NotStruckError(Exception):
    """An instant did not come: the fault has not been tried."""


@dataclass
class Scene:
    """What faults strike at."""

    places: Sequence[WorkerPlace]
    broker: DevelopmentBroker
    commits: Commits
    random: Random
    session_seconds: float
    most_workers: int
    """More of them would have nothing to do."""

    def running(self) -> list[WorkerPlace]:
        """Return the places whose workers are to run."""
        return [place for place in self.places if place.wanted]

    def any_running(self) -> WorkerPlace:
        """Return one of them."""
        return self.random.choice(self.running())

    async def several(self) -> None:
        """Have two workers at least, so that one can take over."""
        while len(self.running()) < 2:
            await self.join()

    async def join(self) -> WorkerPlace:
        """Start one more worker, and wait until it shares the work."""
        place = next(place for place in self.places if not place.wanted)
        place.start()
        if not await place.says(READY, _READY_SECONDS):
            raise NotStruckError(f"{place} is not ready after {_READY_SECONDS:.0f} s: {place.log_tail()}")
        return place


Fault = Callable[[Scene], Awaitable[Since]]


async def kill(scene: Scene) -> Since:
    """Kill a worker, which begins again."""
    await scene.any_running().kill()
    return await scene.commits.now()


async def terminate(scene: Scene) -> Since:
    """Ask a worker to end, which begins again."""
    await scene.any_running().terminate(wanted=True)
    return await scene.commits.now()


async def wipe(scene: Scene) -> Since:
    """Kill a worker and delete its data directory."""
    await scene.any_running().kill(wipe=True)
    return await scene.commits.now()


async def pause(scene: Scene) -> Since:
    """Stop a worker's process for longer than its session, and let it go on."""
    await scene.several()
    place = scene.any_running()
    place.send(signal.SIGSTOP)
    return await _let_go_on(scene, place)


async def join(scene: Scene) -> Since:
    """Start another worker; where there are enough, one leaves first."""
    if len(scene.running()) == scene.most_workers:
        await leave(scene)
    since = await scene.commits.now()
    await scene.join()
    return since


async def leave(scene: Scene) -> Since:
    """End a worker in order, for good."""
    await scene.several()
    since = await scene.commits.now()
    await scene.any_running().terminate(wanted=False)
    return since._replace(ends=(await scene.commits.now()).ends)


async def vanish(scene: Scene) -> Since:
    """Kill a worker for good."""
    await scene.several()
    await scene.any_running().kill(wanted=False)
    return await scene.commits.now()


async def broker_stop(scene: Scene) -> Since:
    """Stop the broker in order, and start it."""
    await asyncio.to_thread(scene.broker.down)
    return await _broker_back(scene)


async def broker_kill(scene: Scene) -> Since:
    """Kill the broker, and start it."""
    await asyncio.to_thread(scene.broker.kill)
    return await _broker_back(scene)


def killed_at(instant: Instant) -> Fault:
    """Return the fault that kills a worker at an instant."""

    async def fault(scene: Scene) -> Since:
        await _strike(scene, scene.any_running(), instant, signal.SIGKILL)
        return await scene.commits.now()

    return fault


def paused_at(instant: Instant) -> Fault:
    """Return the fault that stops a worker at an instant for longer than its session."""

    async def fault(scene: Scene) -> Since:
        await scene.several()
        place = scene.any_running()
        await _strike(scene, place, instant, signal.SIGSTOP)
        return await _let_go_on(scene, place)

    return fault


async def killed_while_restoring(scene: Scene) -> Since:
    """Kill a worker and delete its data directory, and kill it once more while it restores that."""
    place = scene.any_running()
    instant = scene.random.choice((Instant.INITIALISED, Instant.RESTORING))
    place.order(instant, signal.SIGKILL, after=0)
    await place.kill(wipe=True)
    await _struck(place, instant)
    return await scene.commits.now()


async def killed_in_rebalance(scene: Scene) -> Since:
    """Kill a worker in the rebalance that another one's coming brings about."""
    if len(scene.running()) == scene.most_workers:
        await leave(scene)
    place = scene.any_running()
    place.order(Instant.REBALANCING, signal.SIGKILL, after=0)
    next(other for other in scene.places if not other.wanted).start()
    await _struck(place, Instant.REBALANCING)
    return await scene.commits.now()


async def _strike(scene: Scene, place: WorkerPlace, instant: Instant, number: signal.Signals) -> None:
    place.order(instant, number, scene.random.randint(*_AFTER))
    await _struck(place, instant)


async def _struck(place: WorkerPlace, instant: Instant) -> None:
    if not await place.struck(_INSTANT_SECONDS):
        raise NotStruckError(f"{place} is not at the instant {instant} in {_INSTANT_SECONDS:.0f} s: {place.log_tail()}")


async def _let_go_on(scene: Scene, place: WorkerPlace) -> Since:
    """Let a worker that stands still go on when its session is over and others have all that it had."""
    since = await scene.commits.now()
    try:
        await asyncio.sleep(scene.session_seconds + scene.random.uniform(*_BEYOND_SESSION))
        await _taken_over([other for other in scene.running() if other is not place])
    finally:
        place.send(signal.SIGCONT)
    return since


async def _taken_over(places: Sequence[WorkerPlace]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while set().union(*(place.partitions() for place in places)) != set(range(PARTITIONS)):
        if time.monotonic() > deadline:
            raise NotStruckError(f"not all partitions are taken over in {_READY_SECONDS:.0f} s: {places[0].log_tail()}")
        await asyncio.sleep(_LOOK_UP_SECONDS)


async def _broker_back(scene: Scene) -> Since:
    await asyncio.sleep(scene.random.uniform(*_DOWN_SECONDS))
    await asyncio.to_thread(scene.broker.up)
    return await scene.commits.now()


FAULTS: dict[str, Fault] = {
    "kill -9": kill,
    "SIGTERM": terminate,
    "kill -9, state deleted": wipe,
    "SIGSTOP past the session, SIGCONT": pause,
    "a worker joins": join,
    "a worker leaves": leave,
    "kill -9, not restarted": vanish,
    "broker stopped": broker_stop,
    "broker kill -9": broker_kill,
    "kill -9 inside a transaction": killed_at(Instant.IN_TRANSACTION),
    "kill -9 as the commit is sent": killed_at(Instant.COMMIT_SENT),
    "kill -9 between commit and local write": killed_at(Instant.COMMITTED),
    "kill -9 after the local write": killed_at(Instant.STORED),
    "kill -9 while restoring": killed_while_restoring,
    "kill -9 in a rebalance": killed_in_rebalance,
    "SIGSTOP inside a transaction": paused_at(Instant.IN_TRANSACTION),
    "SIGSTOP between commit and local write": paused_at(Instant.COMMITTED),
}
"""Every fault by what it is called in the tables."""

GENTLE = {"a worker joins", "a worker leaves"}
"""Faults in which the work need not stop at all."""
