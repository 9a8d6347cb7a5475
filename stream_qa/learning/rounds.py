"""Many labels of many entities, stepped together: the first step of every entity, then the second, and so on.

The order of an entity's labels is kept, entities do not touch each other, and every row is computed by itself: the
result is that of one label at a time, to the last bit. Labels that change nothing only look, and need no round of their
own: any number of them sees an entity between two of its steps.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.entity import Records
from stream_qa.learning.sgd import AdaptiveSGD, Contribution, Learned, log_odds

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Batch:
    """``n`` labels in log order, for ``m`` entities and ``k`` applications; all arrays of shape ``(n,)`` but one."""

    entity: Integers
    """Which of the ``m`` entities."""
    application: Integers
    """Which of the ``k`` contributions."""
    features: Floats
    """Whitened, shape ``(n, d)``."""
    offset: Floats
    """The log-odds of everything but this effect."""
    value: Integers
    """1, 0, or -1 where nothing is known yet."""
    weight: Floats
    revision: Integers
    happened_at: Integers


class Seen(NamedTuple):
    """What each of ``n`` labels met, shapes ``(n,)``."""

    log_odds: Floats
    """The effect's part of the score, without what the application itself had added."""
    version: Integers
    """The entity's version before."""
    learned: Booleans
    """Whether the label changed the entity."""


def learn(rule: AdaptiveSGD, entities: Records, contributions: Records, batch: Batch) -> Seen:
    """Step ``entities`` ``(m,)`` and ``contributions`` ``(k,)``, in place, through all labels of ``batch``."""
    count = len(batch.entity)
    learned = _changing(batch, contributions["value"], contributions["weight"])
    seen = Seen(np.zeros(count), np.zeros(count, np.int64), learned)
    of_entities, of_applications = _columns(entities), _columns(contributions)
    for rows in _rounds(batch.entity, learned):
        _learn_round(rule, of_entities, of_applications, batch, rows=rows, seen=seen)
    _write_back(of_entities, entities)
    _write_back(of_applications, contributions)
    return seen


def _changing(batch: Batch, values: Integers, weights: Floats) -> Booleans:
    """Return, shape ``(n,)``, which labels say something else than their application's label before."""
    said = list(zip(values.tolist(), weights.tolist(), strict=True))
    changing = []
    for application, value, weight in zip(
        batch.application.tolist(), batch.value.tolist(), batch.weight.tolist(), strict=True
    ):
        changing.append(said[application] != (value, weight))
        said[application] = (value, weight)
    return np.array(changing, np.bool_)


def _rounds(entity: Integers, learned: Booleans) -> list[Integers]:
    """Return the rows of each round: in each an entity steps once at most, after all that only look at it."""
    steps: dict[int, int] = {}
    rounds: list[list[int]] = []
    for row, (which, changes) in enumerate(zip(entity.tolist(), learned.tolist(), strict=True)):
        before = steps.get(which, 0)
        if before == len(rounds):
            rounds.append([])
        rounds[before].append(row)
        if changes:
            steps[which] = before + 1
    return [np.asarray(rows) for rows in rounds]


def _learn_round(
    rule: AdaptiveSGD, entities: Columns, contributions: Columns, batch: Batch, *, rows: Integers, seen: Seen
) -> None:
    entity, application, features = batch.entity[rows], batch.application[rows], batch.features[rows]
    had_value = contributions["value"][application] >= 0
    without = Learned(entities["coefficients"][entity], entities["squares"][entity])
    if had_value.any():
        contribution = Contribution(contributions["gradient"][application], contributions["step"][application])
        without = rule.retract(without, contribution, features)
    seen.log_odds[rows] = log_odds(without.coefficients, features)
    seen.version[rows] = entities["version"][entity]
    contributions["revision"][application] = batch.revision[rows]

    learned = seen.learned[rows]
    if not learned.all():
        if not learned.any():
            return
        entity, application, features, rows = entity[learned], application[learned], features[learned], rows[learned]
        without, had_value = Learned(without.coefficients[learned], without.squares[learned]), had_value[learned]
    value, weight = batch.value[rows], batch.weight[rows]
    after, added = rule.step(without, features, batch.offset[rows], value.astype(np.float64), weight)
    counts = weight > 0
    if not counts.all():
        # A label without weight only takes its predecessor back: it does not even feel the prior's pull.
        each = counts[:, np.newaxis]
        after = Learned(*(np.where(each, moved, still) for moved, still in zip(after, without, strict=True)))
        added = Contribution(np.where(counts, added.gradient, 0.0), np.where(each, added.step, 0.0))
    entities["coefficients"][entity] = after.coefficients
    entities["squares"][entity] = after.squares
    entities["version"][entity] += 1
    entities["labels"][entity] += (value >= 0).astype(np.int64) - had_value
    entities["newest_at"][entity] = np.maximum(entities["newest_at"][entity], batch.happened_at[rows])
    contributions["value"][application] = value
    contributions["weight"][application] = weight
    contributions["gradient"][application] = added.gradient
    contributions["step"][application] = added.step


def _columns(records: Records) -> Columns:
    """Return the fields of packed records, each as an array of its own: numpy is slow where fields are not aligned."""
    return {name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()}


def _write_back(columns: Columns, records: Records) -> None:
    for name, column in columns.items():
        records[name] = column
