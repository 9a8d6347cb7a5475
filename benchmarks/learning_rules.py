"""Microseconds a label of each learning rule, one at a time and many at once, beside river's logistic regression.

    python benchmarks/learning_rules.py [--labels 20000] [--rounds 3]

First the rules alone. Each label is learned by one entity, over 16 features and an intercept: packed records in, packed
records out, with the scores and all that a revision needs. One label in three is a revision, which first takes out what
the one before added. "Many at once" are chunks of 5,000 labels of 2,000 entities. What a refit of an entity by
scikit-learn costs is there too.

Then a label event as a worker has it, for both sides: the labels of a simulated marketplace go through the member's
stage and the job's, with all decoding, encoding and publishing; beside it what a nightly refit of both sides costs.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import orjson
from river.linear_model import LogisticRegression as RiverRegression
from river.optim import SGD as RiverSGD  # noqa: N811 # ours has the name
from sklearn.linear_model import LogisticRegression

from stream_qa.bundle import load_bundle
from stream_qa.durations import DAY, HOUR
from stream_qa.evaluation.daily_batch import daily_batch
from stream_qa.evaluation.replayed import Replayed, replayed
from stream_qa.events import Message, Record, TopicNames
from stream_qa.learning import SGD, AdaptiveSGD, Rule, Window
from stream_qa.learning.entity import contribution_type, entity_type, pack_many, unpack_many
from stream_qa.learning.plan import Batch
from stream_qa.learning.rounds import learn
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.training.history import read_history
from stream_qa.training.train import train

RULES: list[Rule] = [AdaptiveSGD(), SGD(), Window()]
DIMENSION = 17
ENTITIES = 2_000
CHUNK = 5_000
REVISED = 1 / 3
REFIT_ROWS = 32
MARKET = Marketplace(applications=10_000, members=760, jobs=315)
ONE_AT_A_TIME = 2_000
ENTITY_KEYS = b"entity/", b"entity0"
SINCE, UNTIL = MARKET.start + 42 * DAY, MARKET.start + 84 * DAY


class Log:
    """Labels of entities in order, the same for every rule."""

    def __init__(self, labels: int, entities: int) -> None:
        generator = np.random.default_rng(1)
        self.entity = generator.integers(0, entities, labels)
        self.application = np.arange(labels)
        revised = np.flatnonzero(generator.random(labels) < REVISED)
        revised = revised[revised > 0]
        before = (revised * generator.random(len(revised))).astype(int)
        self.application[revised], self.entity[revised] = self.application[before], self.entity[before]
        features = generator.normal(scale=0.25, size=(labels, DIMENSION))
        self.features = features[self.application]
        self.offset = generator.normal(size=labels)
        self.value = generator.integers(0, 2, labels)
        self.happened_at = np.arange(labels) * 60_000


def ours(rule: Rule, log: Log, chunk: int) -> float:
    """Return the CPU seconds a label of one rule over the log, in chunks of so many labels."""
    of_entity, of_application = entity_type(rule, DIMENSION), contribution_type(rule, DIMENSION)
    entities: dict[int, bytes] = {}
    applications: dict[int, bytes] = {}
    began = time.process_time()
    for start in range(0, len(log.entity), chunk):
        rows = slice(start, start + chunk)
        entity_ids, entity = np.unique(log.entity[rows], return_inverse=True)
        application_ids, application = np.unique(log.application[rows], return_inverse=True)
        learned = unpack_many(of_entity, [entities.get(number) for number in entity_ids.tolist()])
        added = unpack_many(of_application, [applications.get(number) for number in application_ids.tolist()])
        count = len(entity)
        batch = Batch(
            entity,
            application,
            log.features[rows],
            log.offset[rows],
            log.value[rows],
            np.ones(count),
            np.arange(start + 1, start + 1 + count),
            log.happened_at[rows],
        )
        learn(rule, learned, added, batch)
        entities.update(zip(entity_ids.tolist(), pack_many(learned), strict=True))
        applications.update(zip(application_ids.tolist(), pack_many(added), strict=True))
    return (time.process_time() - began) / len(log.entity)


def river(log: Log) -> float:
    """Return the CPU seconds a label of river's regressions, which take nothing back and know no offset."""
    models = [RiverRegression(RiverSGD(0.5), l2=0.01) for _ in range(ENTITIES)]
    rows = [dict(enumerate(row)) for row in log.features.tolist()]
    began = time.process_time()
    for entity, features, value in zip(log.entity.tolist(), rows, log.value.tolist(), strict=True):
        model = models[entity]
        model.predict_proba_one(features)
        model.learn_one(features, value)
    return (time.process_time() - began) / len(log.entity)


def refit(log: Log, times: int = 200) -> float:
    """Return the CPU seconds of one fit of the last rows of an entity."""
    began = time.process_time()
    for number in range(times):
        rows = slice(number * REFIT_ROWS, (number + 1) * REFIT_ROWS)
        LogisticRegression().fit(log.features[rows], log.value[rows])
    return (time.process_time() - began) / times


class LabelLog:
    """Takes in the labels of a replay."""

    def __init__(self) -> None:
        self.labels: list[Message] = []

    def add(self, message: Message) -> None:
        """Take in one emitted message."""
        if message.topic == TopicNames().labels:
            self.labels.append(message)


def both_sides(rule: str, labels: Sequence[Message], chunk: int) -> tuple[float, float]:
    """Return the CPU seconds a label event of the member's and the job's stage, and the mean bytes of an entity."""
    pipeline = build_pipeline(Settings.model_validate({"learning_rule": rule}))
    members, jobs = MemoryState(), MemoryState()
    began = time.process_time()
    for start in range(0, len(labels), chunk):
        records = [Record("", 0, 0, message.key, message.value) for message in labels[start : start + chunk]]
        learned = pipeline.member.process(0, records, members)
        members.apply(learned.changes)
        examples = [message for message in learned.messages if message.topic == TopicNames().examples]
        jobs.apply(pipeline.job.process(0, [Record("", 0, 0, one.key, one.value) for one in examples], jobs).changes)
    seconds = (time.process_time() - began) / len(labels)
    sizes = [len(value) for state in (members, jobs) for key, value in state.scan(*ENTITY_KEYS)]
    return seconds, statistics.mean(sizes)


def nightly(rows: Replayed, directory: Path) -> tuple[float, float]:
    """Return the CPU seconds of a night that refits both sides, and of a label event in it."""
    bundle = load_bundle(directory)
    began = time.process_time()
    daily_batch(rows, rows.steps, bundle, SINCE)
    seconds = time.process_time() - began
    return seconds / ((UNTIL - SINCE) / DAY), seconds / int((rows.steps.known_at >= SINCE - DAY).sum())


def replay(directory: Path) -> tuple[list[Message], Replayed]:
    """Simulate, train, and return the labels and what the evaluation says of the applications."""
    path = directory / "log.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(event) for event in simulate(MARKET, np.random.default_rng(0)).events()))
    settings = Settings()
    events: list[LogEvent] = read_log([path], settings.topics).events
    policy = build_pipeline(settings).label.policy
    history = read_history(
        events, topics=settings.topics, policy=policy, until=SINCE, max_message_bytes=settings.max_message_bytes
    )
    train(history, policy=policy, until=SINCE).write(directory / "bundle")
    pipeline = build_pipeline(settings.model_copy(update={"bundle": directory / "bundle"}))
    log = LabelLog()
    stages = InProcessReplay(pipeline, 1, log)
    for part in chunks(events, CHUNK, DAY):
        stages.run(part)
    bundle = load_bundle(directory / "bundle")
    return log.labels, replayed(events, pipeline=pipeline, bundle=bundle, since=SINCE, until=UNTIL, longest=HOUR)


def whole_stages(rounds: int) -> None:
    """Print what a label event costs for both sides, and a night."""
    with tempfile.TemporaryDirectory() as name:
        labels, rows = replay(Path(name))
        print(f"both sides, {len(labels):,} label events: us one at a time, us many at once, bytes an entity")
        for rule in ("adaptive-sgd", "sgd", "window"):
            single = [both_sides(rule, labels[:ONE_AT_A_TIME], 1)[0] for _ in range(rounds)]
            many = [both_sides(rule, labels, CHUNK) for _ in range(rounds)]
            print(
                f"{rule:>38}   {spread([1e6 * one for one in single])}   {spread([1e6 * one for one, _ in many])}"
                f"   {many[0][1]:,.0f}"
            )
        nights = [nightly(rows, Path(name) / "bundle") for _ in range(rounds)]
        print(f"{'a nightly refit, ms a night':>38}   {spread([1e3 * night for night, _ in nights])}")
        print(f"{'a nightly refit, us a label event':>38}   {spread([1e6 * label for _, label in nights])}")


def spread(figures: Sequence[float]) -> str:
    """Return the median and the range."""
    return f"{statistics.median(figures):,.1f} ({min(figures):,.1f} to {max(figures):,.1f})"


def main() -> None:
    """Run the rounds in turn and print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--labels", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    log = Log(options.labels, ENTITIES)
    few = Log(min(options.labels, CHUNK), ENTITIES)

    runs: dict[str, Callable[[], float]] = {}
    for rule in RULES:
        runs[f"{rule.number}, one at a time"] = partial(ours, rule, few, 1)
        runs[f"{rule.number}, many at once"] = partial(ours, rule, log, CHUNK)
    runs["river, score and learn_one"] = partial(river, log)
    runs[f"scikit-learn, one refit of {REFIT_ROWS} rows"] = partial(refit, log)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            found[name].append(1e6 * run())
    print("us: median (lowest to highest)")
    for name, figures in found.items():
        print(f"{name:>38}   {spread(figures)}")
    print("bytes of an entity's record at most, and of a label's contribution")
    for rule in RULES:
        sizes = entity_type(rule, DIMENSION).dtype.itemsize, contribution_type(rule, DIMENSION).dtype.itemsize
        print(f"{rule.number!s:>38}   {sizes[0]:>8,} {sizes[1]:>8,}")
    whole_stages(options.rounds)


if __name__ == "__main__":
    main()
