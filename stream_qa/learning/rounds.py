"""Many labels of many entities, stepped together: the first label of every entity, then the second, and so on.

The order of an entity's labels is kept, entities do not touch each other, and every row is computed by itself: the
result is that of one label at a time, to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.entity import Records
from stream_qa.learning.sgd import AdaptiveSGD, Contribution, Learned, log_odds


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
    seen = Seen(np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.bool_))
    for rows in _rounds(batch.entity.tolist()):
        _learn_round(rule, entities, contributions, batch, rows=rows, seen=seen)
    return seen


def _rounds(entity: Sequence[int]) -> list[Integers]:
    """Return the rows of each round: no entity twice in one, and each entity's rows in their order."""
    occurrences: dict[int, int] = {}
    rounds: list[list[int]] = []
    for row, which in enumerate(entity):
        occurrence = occurrences.get(which, 0)
        occurrences[which] = occurrence + 1
        if occurrence == len(rounds):
            rounds.append([])
        rounds[occurrence].append(row)
    return [np.asarray(rows) for rows in rounds]


def _learn_round(
    rule: AdaptiveSGD, entities: Records, contributions: Records, batch: Batch, *, rows: Integers, seen: Seen
) -> None:
    entity, application, features = batch.entity[rows], batch.application[rows], batch.features[rows]
    before = contributions[application]
    without = rule.retract(
        Learned(entities["coefficients"][entity], entities["squares"][entity]),
        Contribution(before["gradient"], before["step"]),
        features,
    )
    value, weight = batch.value[rows], batch.weight[rows]
    learned = (value != before["value"]) | (weight != before["weight"])
    seen.log_odds[rows] = log_odds(without.coefficients, features)
    seen.version[rows] = entities["version"][entity]
    seen.learned[rows] = learned

    contributions["revision"][application] = batch.revision[rows]
    if not learned.any():
        return
    entity, application, features, rows = entity[learned], application[learned], features[learned], rows[learned]
    without = Learned(without.coefficients[learned], without.squares[learned])
    value, weight = value[learned], weight[learned]
    after, added = rule.step(without, features, batch.offset[rows], value.astype(np.float64), weight)
    # A label without weight only takes its predecessor back: it does not even feel the prior's pull.
    counts = weight > 0
    after = Learned(
        np.where(counts[:, np.newaxis], after.coefficients, without.coefficients),
        np.where(counts[:, np.newaxis], after.squares, without.squares),
    )
    entities["coefficients"][entity] = after.coefficients
    entities["squares"][entity] = after.squares
    entities["version"][entity] += 1
    entities["labels"][entity] += (value >= 0).astype(np.int64) - (before["value"][learned] >= 0)
    entities["newest_at"][entity] = np.maximum(entities["newest_at"][entity], batch.happened_at[rows])
    contributions["value"][application] = value
    contributions["weight"][application] = weight
    contributions["gradient"][application] = np.where(counts, added.gradient, 0.0)
    contributions["step"][application] = np.where(counts[:, np.newaxis], added.step, 0.0)
