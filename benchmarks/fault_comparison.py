"""What faults do to a count of events by key: a plain Faust agent, Quix Streams and the worker of this project.

    make compare-faults

The driver of the chaos suite feeds and breaks each of them, from outside only. Every event of a key is to give the next
version of its count, once: what is missing, repeated or wrong is seen by a reader of committed records.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from chaos.commits import Commits, Since
from chaos.faults import FAULTS, Scene
from chaos.feed import Feed
from chaos.log import Delivery
from chaos.workers import WorkerPlace, supervise
from measured_broker import measured_broker

from stream_qa.broker import DevelopmentBroker
from stream_qa.kafka_access import KafkaAccess
from stream_qa.settings import Settings
from stream_qa.topics import apply

PARTITIONS = 4
SESSION_SECONDS = 6.0
EVENTS_A_SECOND = 400.0
KEYS = 500
PATIENCE_SECONDS = 90.0
#: Nothing new for so long, and it will not come any more.
QUIET_SECONDS = 30.0
LOOK_UP_SECONDS = 0.02
BETWEEN_SECONDS = (1.0, 3.0)
BAD_INPUT = "bad input"
#: Where in the log the bad message is.
BAD_AT = 2_000
PYTHON = sys.executable
BENCHMARKS = Path(__file__).parent


@dataclass(frozen=True)
class Framework:
    """What is compared."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    known_again: bool = False
    """Whether its group is to know a worker again that was restarted; ours does so by itself."""
    ours: bool = False


@dataclass(frozen=True)
class Trial:
    """What strikes, how often, and with how many workers."""

    name: str
    kind: str
    times: int
    workers: int = 1


@dataclass
class Seen:
    """What came of a trial; all of it counted over keys."""

    framework: str
    trial: str
    events: int = 0
    lost: int = 0
    """Events that are in no count."""
    doubled: int = 0
    """Events that were counted twice."""
    repeated: int = 0
    """Versions of a key that were sent more than once."""
    missing: int = 0
    """Versions of a key that were not sent, below its last."""
    bad: int = 0
    """Messages that were no JSON."""
    kept: int = 0
    """How many of these can be found again, outside of the input."""
    back: list[float | None] = field(default_factory=list)
    """Seconds until all partitions had something newly committed, fault by fault."""
    exits: dict[str, int] = field(default_factory=dict)


FAUST = (PYTHON, "-m", "faust", "-A", "counting.faust_agent", "worker", "-l", "info", "--without-web")
QUIX = (PYTHON, "-m", "counting.quix_stage")
OURS = (PYTHON, "-m", "faust", "-A", "counting.stream_qa_stage", "worker", "-l", "info")
AT_LEAST_ONCE = {"COUNTING_GUARANTEE": "at_least_once"}
EXACTLY_ONCE = {"COUNTING_GUARANTEE": "exactly_once"}

FRAMEWORKS = [
    Framework("Faust at_least_once", FAUST, AT_LEAST_ONCE),
    Framework("Faust exactly_once", FAUST, EXACTLY_ONCE),
    Framework("Quix exactly-once, fixed transactional id", QUIX),
    Framework("stream_qa", OURS, ours=True),
    Framework("Faust at_least_once, instance id", FAUST, AT_LEAST_ONCE, known_again=True),
    Framework("Quix exactly-once, fixed transactional id, instance id", QUIX, known_again=True),
]

TRIALS = [
    Trial("5 x kill -9", "kill -9", 5),
    Trial("2 x kill -9, state deleted", "kill -9, state deleted", 2),
    Trial("2 x SIGSTOP past the session, SIGCONT, two workers", "SIGSTOP past the session, SIGCONT", 2, workers=2),
    Trial("2 x SIGTERM", "SIGTERM", 2),
    Trial("2 x broker kill -9", "broker kill -9", 2),
    Trial("a message that is not JSON", BAD_INPUT, 1),
]


class Cell:
    """One framework in one trial, on topics of its own."""

    def __init__(
        self, framework: Framework, trial: Trial, broker: DevelopmentBroker, directory: Path, number: int
    ) -> None:
        self.framework = framework
        self.trial = trial
        self.broker = broker
        self.prefix = f"cell-{number}-"
        self.directory = directory / f"cell-{number}"
        self.directory.mkdir()
        names = Settings(topic_prefix=self.prefix).topics
        self.input = names.applications if framework.ours else f"{self.prefix}events"
        self.output = names.scores if framework.ours else f"{self.prefix}counts"
        self.random = Random(number)  # noqa: S311 # to be repeated

    def run(self) -> Seen:
        """Run it and return what came of it."""
        return asyncio.run(self._run())

    async def _run(self) -> Seen:
        await self._make_topics()
        seen = Seen(self.framework.name, self.trial.name)
        places = [self._place(f"{self.prefix}{name}") for name in ("a", "b")]
        seconds = PATIENCE_SECONDS * (self.trial.times + 2)
        feed = Feed(
            KafkaAccess((self.broker.bootstrap,)),
            self._events(int(seconds * EVENTS_A_SECOND)),
            EVENTS_A_SECOND,
            PARTITIONS,
        )
        stop = asyncio.Event()
        supervisor, feeding = asyncio.create_task(supervise(places)), asyncio.create_task(feed.run(stop))
        try:
            async with Commits(KafkaAccess((self.broker.bootstrap,)), self.output, PARTITIONS) as commits:
                scene = Scene(places, self.broker, commits, self.random, SESSION_SECONDS, most_workers=2)
                began = await commits.now()
                for place in places[: self.trial.workers]:
                    place.start()
                if await commits.back(began, PATIENCE_SECONDS) is None:
                    raise RuntimeError(f"{self.framework.name} does not begin: {places[0].log_tail()}")
                for _ in range(self.trial.times):
                    await asyncio.sleep(self.random.uniform(*BETWEEN_SECONDS))
                    since = await self._strike(scene, feed)
                    seen.back.append(await commits.back(since, PATIENCE_SECONDS))
                stop.set()
                await feeding
            expected = Counter(delivery.key for delivery in feed.delivered if delivery.bad is None)
            versions = await self._versions(expected)
            seen.bad = sum(delivery.bad is not None for delivery in feed.delivered)
            seen.kept = await self._kept()
        finally:
            feeding.cancel()
            supervisor.cancel()
            await asyncio.gather(feeding, supervisor, return_exceptions=True)
            for place in places:
                await place.kill(wanted=False)
        _compare(seen, expected, versions)
        seen.exits = dict(Counter(str(code) for place in places for code in place.exits))
        return seen

    async def _strike(self, scene: Scene, feed: Feed) -> Since:
        if self.trial.kind != BAD_INPUT:
            return await FAULTS[self.trial.kind](scene)
        while feed.sent <= BAD_AT:
            await asyncio.sleep(LOOK_UP_SECONDS)
        return await scene.commits.now()

    async def _make_topics(self) -> None:
        if self.framework.ours:
            await apply(KafkaAccess((self.broker.bootstrap,)), self.prefix, partitions=PARTITIONS)
            return
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in (self.input, self.output)])
        finally:
            await admin.close()

    def _place(self, name: str) -> WorkerPlace:
        environment = {
            "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")]),
            "COUNTING_PREFIX": self.prefix,
            "COUNTING_BROKER": self.broker.bootstrap,
            "COUNTING_DIRECTORY": str(self.directory / name),
            "COUNTING_PARTITIONS": str(PARTITIONS),
            "COUNTING_SESSION_SECONDS": str(SESSION_SECONDS),
            "COUNTING_PLACE": name,
            **self.framework.environment,
        }
        if self.framework.known_again:
            environment["COUNTING_INSTANCE_ID"] = name
        if self.framework.ours:
            environment |= {
                "STREAM_QA_BROKER": self.broker.bootstrap,
                "STREAM_QA_TOPIC_PREFIX": self.prefix,
                "STREAM_QA_APP_ID": f"{self.prefix}workers",
                "STREAM_QA_SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
            }
        return WorkerPlace(name, self.directory, environment, self.framework.command)

    def _events(self, count: int) -> list[Delivery]:
        keys = [f"key-{number}".encode() for number in range(KEYS)]
        events = [
            Delivery(self.input, self.random.choice(keys), orjson.dumps({"number": number}), None)
            for number in range(count)
        ]
        if self.trial.kind == BAD_INPUT:
            events.insert(BAD_AT, Delivery(self.input, keys[0], b"no JSON", None, "not-json"))
        return events

    async def _kept(self) -> int:
        """Return how many messages are in a topic for bad input; only one of the frameworks has such a topic."""
        if not self.framework.ours:
            return 0
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker.bootstrap, isolation_level="read_committed")
        await consumer.start()
        try:
            place = TopicPartition(Settings(topic_prefix=self.prefix).topics.dead_letters, 0)
            consumer.assign([place])
            consumer.seek(place, 0)
            return sum(map(len, (await consumer.getmany(place, timeout_ms=2_000)).values()))
        finally:
            await consumer.stop()

    async def _versions(self, expected: Mapping[bytes, int]) -> dict[bytes, list[int]]:
        """Return the versions of each key as they were sent, when all have come or nothing comes any more."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker.bootstrap, isolation_level="read_committed", auto_offset_reset="none"
        )
        await consumer.start()
        try:
            places = [TopicPartition(self.output, number) for number in range(PARTITIONS)]
            consumer.assign(places)
            for place in places:
                consumer.seek(place, 0)
            versions: defaultdict[bytes, list[int]] = defaultdict(list)
            heard = time.monotonic()
            while time.monotonic() - heard < QUIET_SECONDS and any(
                max(versions[key], default=0) < count for key, count in expected.items()
            ):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    heard = time.monotonic()
                    for record in records:
                        versions[record.key].append(orjson.loads(record.value)["version"])
            return dict(versions)
        finally:
            await consumer.stop()


def _compare(seen: Seen, expected: Mapping[bytes, int], versions: Mapping[bytes, Sequence[int]]) -> None:
    seen.events = sum(expected.values())
    for key, count in expected.items():
        sent = Counter(versions.get(key, ()))
        last = max(sent, default=0)
        seen.lost += max(0, count - last)
        seen.doubled += max(0, last - count)
        seen.repeated += sum(times - 1 for times in sent.values())
        seen.missing += last - len(sent)


def printed(cells: Sequence[Seen]) -> str:
    """Return the results as the rows of a Markdown table."""
    lines = [
        "| | | events | lost | doubled | repeated | missing | bad, kept | back at work, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for seen in cells:
        back = ", ".join("never" if seconds is None else f"{seconds:.1f}" for seconds in seen.back)
        counts = (
            f"{seen.events} | {seen.lost} | {seen.doubled} | {seen.repeated} | {seen.missing} | {seen.bad}, {seen.kept}"
        )
        lines.append(f"| {seen.framework} | {seen.trial} | {counts} | {back} |")
    return "\n".join(lines)


def main() -> None:
    """Run the cells and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="frameworks whose name has this in it")
    arguments.add_argument("--trial", default="", help="trials whose name has this in it")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--keep", action="store_true", help="keep the directory with the logs")
    options = arguments.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    cells = [
        (framework, trial)
        for trial in TRIALS
        for framework in FRAMEWORKS
        if options.only in framework.name and options.trial in trial.name
        # Being known again is about coming back.
        if not framework.known_again or trial.kind == "kill -9"
    ]
    results: list[Seen] = []
    with contextlib.ExitStack() as stack:
        kept = tempfile.mkdtemp() if options.keep else stack.enter_context(tempfile.TemporaryDirectory())
        print(f"logs in {kept}", flush=True)
        for number, (framework, trial) in enumerate(cells):
            # A broker for each: what one framework leaves behind is not the next one's.
            with measured_broker(Path(kept) / f"broker-{number}") as broker:
                results.append(Cell(framework, trial, broker, Path(kept), number).run())
            print(results[-1], flush=True)
            if options.json is not None:
                options.json.write_text(json.dumps([asdict(seen) for seen in results], indent=2))
    print(printed(results))


if __name__ == "__main__":
    main()
