"""Many labels of many entities, stepped together: the first step of every entity, then the second, and so on.

The order of an entity's labels is kept, entities do not touch each other, and every row is computed by itself: the
result is that of one label at a time, to the last bit. Labels that change nothing only look, and need no round of their
own: any number of them sees an entity between two of its steps.
"""

from typing import NamedTuple

import numpy as np

from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.entity import Records
from stream_qa.learning.plan import Batch, Plan, make_plan
from stream_qa.learning.rule import Column, Columns, Fields, Labels, Rule, log_odds


class Seen(NamedTuple):
    """What each of ``n`` labels met, shapes ``(n,)``."""

    log_odds: Floats
    """The effect's part of the score, without what the application itself had added."""
    version: Integers
    """The entity's version before."""
    learned: Booleans
    """Whether the label changed the entity."""
    said: Integers
    """What the application's label before said; -1 for nothing."""
    said_weight: Floats


def learn(rule: Rule, entities: Records, contributions: Records, batch: Batch) -> Seen:
    """Step ``entities`` ``(m,)`` and ``contributions`` ``(k,)``, in place, through all labels of ``batch``."""
    of_entities, of_applications = _columns(entities), _columns(contributions)
    plan = make_plan(rule.time_constant, of_entities, of_applications, batch)
    seen = Seen(np.zeros(len(batch.entity)), plan.version, plan.learned, plan.said, plan.said_weight)
    for rows in plan.rounds:
        _learn_round(rule, of_entities, of_applications, batch, plan, rows=rows, log_odds_of=seen.log_odds)
    _write_back(of_entities, entities)
    _write_back(of_applications, contributions)
    return seen


def _learn_round(
    rule: Rule,
    entities: Columns,
    contributions: Columns,
    batch: Batch,
    plan: Plan,
    *,
    rows: Integers,
    log_odds_of: Floats,
) -> None:
    entity, application, features = batch.entity[rows], batch.application[rows], batch.features[rows]
    without = _taken(entities, rule.learned_fields(features.shape[1]), entity)
    added = _taken(contributions, rule.added_fields(features.shape[1]), application)
    if plan.replaces[rows].any():
        without = rule.retract(without, added, plan.kept[rows], features)
    log_odds_of[rows] = log_odds(without["coefficients"], features)

    learned = plan.learned[rows]
    if not learned.all():
        if not learned.any():
            return
        entity, application, features, rows = entity[learned], application[learned], features[learned], rows[learned]
        without, added = ({name: column[learned] for name, column in columns.items()} for columns in (without, added))
    labels = Labels(features, batch.offset[rows], batch.value[rows].astype(np.float64), batch.weight[rows])
    without = rule.fade(without, plan.fading[rows])
    after, adds = rule.step(without, added, labels)
    counts = labels.weight > 0
    if not counts.all():
        # A label without weight only takes its predecessor back: it does not even feel the prior's pull.
        after = {name: _where(counts, column, without[name]) for name, column in after.items()}
        adds = {name: _where(counts, column, np.zeros_like(column)) for name, column in adds.items()}
    for name, column in after.items():
        entities[name][entity] = column
    for name, column in adds.items():
        contributions[name][application] = column


def _taken(columns: Columns, fields: Fields, rows: Integers) -> Columns:
    return {name: columns[name][rows] for name, *_ in fields}


def _where(counts: Booleans, column: Column, otherwise: Column) -> Column:
    return np.asarray(np.where(counts.reshape(-1, *(1,) * (column.ndim - 1)), column, otherwise))


def _columns(records: Records) -> Columns:
    """Return the fields of packed records, each as an array of its own: numpy is slow where fields are not aligned."""
    return {name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()}


def _write_back(columns: Columns, records: Records) -> None:
    for name, column in columns.items():
        records[name] = column
