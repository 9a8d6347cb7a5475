"""A round: a log through workers while faults strike one after the other, and then the whole truth."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ground import PARTITIONS, Ground, new_ground

from chaos.brokers import Brokers
from chaos.commits import Commits
from chaos.evidence import FRESH, collect
from chaos.faults import FAULTS, GENTLE, NotStruckError, Scene
from chaos.feed import Feed
from chaos.invariants import Differences, all_differences
from chaos.log import MAX_MESSAGE_BYTES, draw_log
from chaos.server import Held, Server
from chaos.workers import READY, WORKER, WorkerPlace, supervise
from stream_qa.broker import DevelopmentBroker
from stream_qa.errors import ReplayStalledError
from stream_qa.replay.report import Report
from stream_qa.replay.to_kafka import KafkaReplay

SESSION_SECONDS = 6.0
"""The shortest that brokers allow."""
EVENTS_A_SECOND = 120.0
#: Enough of the log for the slowest faults; what is left over is not sent.
_SECONDS_A_FAULT = 25.0
_SECONDS_A_ROUND = 60.0
_APPLICATIONS_AN_EVENT = 0.6
_BETWEEN_SECONDS = (0.1, 1.5)
_PATIENCE_SECONDS = 45.0
#: The worker has 10 s for what is in flight; the rest is Python on a busy machine.
_END_SECONDS = 20.0
_PLACES = "abcd"
_MOST_WORKERS = 3
#: Of the workers: quick to give a silent one up, and small limits where large ones would hide something.
_SETTINGS = {
    "session_timeout_seconds": SESSION_SECONDS,
    "max_message_bytes": MAX_MESSAGE_BYTES,
    "snapshot_every": 5,
    "notify_per_job_and_day": 1,
    "notify_probability": 0.3,
    "notify_least_steps": 0,
}

GOES_ON = "the_work_goes_on"
"""What is seen while a round runs: every fault strikes, work comes back, all of it is done, workers end when asked."""


@dataclass
class Struck:
    """A fault that has struck."""

    kind: str
    back_seconds: float | None
    """From when what broke was put back, or from the fault where nothing was, until every partition has committed
    something new; where nothing broke, the longest time in which a partition had nothing new. ``None``: never."""


@dataclass
class RoundResult:
    """What a round has shown."""

    name: str
    seed: int
    known_again: bool
    faults: list[Struck] = field(default_factory=list)
    differences: dict[str, Differences] = field(default_factory=dict)
    """By invariant, those that do not hold."""
    deliveries: int = 0
    retries: int = 0
    """How often the producer has sent something again."""
    exits: dict[str, int] = field(default_factory=dict)
    """How often a worker's process has ended with which code; negative are signals."""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def add(self, invariant: str, difference: str) -> None:
        """Take note of a difference."""
        self.differences.setdefault(invariant, []).append(difference)

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object's content."""
        return asdict(self)


@dataclass(frozen=True)
class Round:
    """What is to be tried.

    Parameters
    ----------
    name
        For topics, directories and tables.
    seed
        Of the log, of what the faults strike and of when.
    kinds
        The faults, in their order: keys of ``FAULTS``.
    workers
        How many there are at first.
    known_again
        Whether the group knows a worker again that was restarted.
    epoch_a_transaction
        Whether the broker that it is meant for gives every transaction an epoch of its own.
    groups
        Groups of partition numbers.
    sabotage
        How the workers are broken: a key of ``SABOTAGES``.
    """

    name: str
    seed: int
    kinds: Sequence[str]
    workers: int = 1
    known_again: bool = True
    epoch_a_transaction: bool = True
    groups: int = PARTITIONS
    sabotage: str = ""

    def run(self, brokers: Brokers, directory: Path) -> RoundResult:
        """Run it, in a directory of its own."""
        started = time.monotonic()
        directory.mkdir(parents=True)
        broker = brokers.get(epoch_a_transaction=self.epoch_a_transaction)
        ground = new_ground(broker.bootstrap, directory, **_SETTINGS)
        result = RoundResult(self.name, self.seed, known_again=self.known_again)
        environment = {
            **ground.environment,
            "STREAM_QA_INSTANCE_ID": "auto" if self.known_again else "none",
            "STREAM_QA_GROUPS": str(self.groups),
            "CHAOS_SABOTAGE": self.sabotage,
        }
        places = [WorkerPlace(name, directory, environment) for name in _PLACES]
        fresh = WorkerPlace(FRESH, directory, environment, WORKER)
        events = EVENTS_A_SECOND * (_SECONDS_A_ROUND + _SECONDS_A_FAULT * len(self.kinds))
        log = draw_log(self.seed, int(events * _APPLICATIONS_AN_EVENT), ground.settings.topics)
        feed = Feed(ground.settings.kafka, log, EVENTS_A_SECOND, PARTITIONS)
        run = _Run(self, ground, broker, places, fresh, feed, result)
        asyncio.run(run.run())
        evidence = collect(ground, feed.delivered, [place.data_directory for place in places], run.followed)
        for invariant, differences in all_differences(evidence).items():
            result.differences.setdefault(invariant, []).extend(differences)
        result.deliveries, result.retries = feed.sent, feed.retries
        result.exits = dict(sorted(Counter(str(code) for place in places for code in place.exits).items()))
        result.seconds = time.monotonic() - started
        return result


@dataclass(frozen=True)
class _Run:
    """A round under way."""

    plan: Round
    ground: Ground
    broker: DevelopmentBroker
    places: Sequence[WorkerPlace]
    fresh: WorkerPlace
    """Without local state, at the end."""
    feed: Feed
    result: RoundResult
    followed: Held = field(default_factory=dict)
    """What a server holds at the end that has followed the coefficients all the time."""

    async def run(self) -> None:
        """Begin, let the faults strike, wait until all is done, and end."""
        supervisor = asyncio.create_task(supervise([*self.places, self.fresh]))
        stop = asyncio.Event()
        feeding = asyncio.create_task(self.feed.run(stop))
        server = Server(self.ground.settings, self.ground.directory / "server")
        try:
            settings = self.ground.settings
            async with Commits(settings.kafka, settings.topics.label_changelog, PARTITIONS) as commits:
                random = Random(self.plan.seed)  # noqa: S311 # to be repeated
                most_workers = min(_MOST_WORKERS, self.plan.groups)
                scene = Scene(self.places, self.broker, commits, random, SESSION_SECONDS, most_workers)
                began = await commits.now()
                for place in self.places[: self.plan.workers]:
                    place.start()
                if await commits.back(began, _PATIENCE_SECONDS) is None:
                    self.result.add(GOES_ON, f"no work at the beginning: {self.places[0].log_tail()}")
                else:
                    await self._strike(scene, feeding, server)
            stop.set()
            await feeding
            await self._finish()
            for place in scene.running():
                await place.terminate(wanted=False)
            self.fresh.start()
            if not await self.fresh.says(f"{READY}{list(range(PARTITIONS))}", _PATIENCE_SECONDS):
                self.result.add(GOES_ON, f"a worker without local state does not get ready: {self.fresh.log_tail()}")
            await self.fresh.terminate(wanted=False)
            for place in [*self.places, self.fresh]:
                if any(place.asked_exits):
                    self.result.add(GOES_ON, f"asked to end, {place} ended with {place.asked_exits}")
                if place.longest_end > _END_SECONDS:
                    self.result.add(GOES_ON, f"asked to end, {place} took {place.longest_end:.0f} s")
        finally:
            held = await server.end(_PATIENCE_SECONDS)
            if held is None:
                self.result.add(GOES_ON, "a server does not come to the ends of the coefficient topics")
            self.followed.update(held or {})
            feeding.cancel()
            supervisor.cancel()
            await asyncio.gather(feeding, supervisor, return_exceptions=True)
            for place in [*self.places, self.fresh]:
                await place.kill(wanted=False)

    async def _strike(self, scene: Scene, feeding: "asyncio.Task[None]", server: Server) -> None:
        """Let the faults strike, each when the work has come back from the one before."""
        for kind in self.plan.kinds:
            await asyncio.sleep(scene.random.uniform(*_BETWEEN_SECONDS))
            if feeding.done():
                feeding.result()
            try:
                since = await FAULTS[kind](scene)
            except NotStruckError as error:
                self.result.add(GOES_ON, f"{kind}: {error}")
                continue
            seconds = await scene.commits.back(since, _PATIENCE_SECONDS)
            if kind in GENTLE and seconds is not None:
                seconds = scene.commits.silence(since.moment, time.monotonic())
            # What strikes the broker it has to live through; between the others it is struck itself.
            if not kind.startswith("broker"):
                await server.break_off()
            self.result.faults.append(Struck(kind, seconds))
            if seconds is None:
                said = "; ".join(place.log_tail() for place in scene.running())
                self.result.add(GOES_ON, f"no work within {_PATIENCE_SECONDS:.0f} s after {kind}: {said}")
                return

    async def _finish(self) -> None:
        """Wait until the workers have done with all that was delivered."""
        produced = asyncio.Event()
        produced.set()
        try:
            async with KafkaReplay(self.ground.settings, Report(self.ground.settings.topics)) as replay:
                await replay.follow(produced, _PATIENCE_SECONDS)
        except ReplayStalledError as error:
            self.result.add(GOES_ON, f"the work is not finished: {error}")
