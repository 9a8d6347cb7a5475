"""Microseconds a label of each learning rule, one at a time and many at once, beside river's logistic regression.

    python benchmarks/learning_rules.py [--labels 20000] [--rounds 3]

Each label is learned by one entity, over 16 features and an intercept: packed records in, packed records out, with the
scores and all that a revision needs. One label in three is a revision, which first takes out what the one before added.
"Many at once" are chunks of 5,000 labels of 2,000 entities. What a daily refit of an entity by scikit-learn costs is
there too.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from river.linear_model import LogisticRegression as RiverRegression
from river.optim import SGD as RiverSGD  # noqa: N811 # ours has the name
from sklearn.linear_model import LogisticRegression

from stream_qa.learning import SGD, AdaptiveSGD, Rule, Window
from stream_qa.learning.entity import contribution_type, entity_type, pack_many, unpack_many
from stream_qa.learning.plan import Batch
from stream_qa.learning.rounds import learn

RULES: list[Rule] = [AdaptiveSGD(), SGD(), Window()]
DIMENSION = 17
ENTITIES = 2_000
CHUNK = 5_000
REVISED = 1 / 3
REFIT_ROWS = 32


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
        print(f"{name:>38}   {statistics.median(figures):>8.1f} ({min(figures):.1f} to {max(figures):.1f})")
    print("bytes of an entity's record at most, and of a label's contribution")
    for rule in RULES:
        sizes = entity_type(rule, DIMENSION).dtype.itemsize, contribution_type(rule, DIMENSION).dtype.itemsize
        print(f"{rule.number!s:>38}   {sizes[0]:>8,} {sizes[1]:>8,}")


if __name__ == "__main__":
    main()
