"""Many labels of many entities, stepped together: the first step of every entity, then the second, and so on.

The order of an entity's labels is kept, entities do not touch each other, and every row is computed by itself: the
result is that of one label at a time, to the last bit. Labels that change nothing only look, and need no round of their
own: any number of them sees an entity between two of its steps.

The entities with the most labels stand first, and the labels in the order in which they are learned, so that what a
round needs is the beginning of the ones and a piece of the others: few entities with very many labels are rounds of a
few rows each, in which picking rows would take longer than learning.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.entity import Records
from stream_qa.learning.plan import OF_APPLICATION, OF_ENTITY, Batch, Plan, make_plan
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
    dimension = batch.features.shape[1]
    of_entities = _columns(entities, OF_ENTITY, rule.learned_fields(dimension))
    of_applications = _columns(contributions, OF_APPLICATION, rule.added_fields(dimension))
    plan = make_plan(rule.time_constant, of_entities, of_applications, batch)
    scores = _Rounds(rule, of_entities, of_applications, batch, plan).run()
    _write_back(of_entities, entities)
    _write_back(of_applications, contributions)
    return Seen(scores, plan.version, plan.learned, plan.said, plan.said_weight)


class _Rounds:
    """The rounds of one batch."""

    def __init__(self, rule: Rule, entities: Columns, contributions: Columns, batch: Batch, plan: Plan) -> None:
        self._rule, self._batch, self._plan = rule, batch, plan
        self._entities, self._contributions = entities, contributions
        steps = np.bincount(batch.entity[plan.learned], minlength=len(entities["version"]))
        self._first = np.argsort(-steps, kind="stable")
        """The entities, those with the most steps first."""
        self._place = np.empty_like(self._first)
        """Of each entity in that order."""
        self._place[self._first] = np.arange(len(steps))
        dimension = batch.features.shape[1]
        learned = {name: entities[name] for name, *_ in rule.learned_fields(dimension)}
        self._known = _taken(learned, self._first)
        self._added = [name for name, *_ in rule.added_fields(dimension)]
        self._scores = np.zeros(len(batch.entity))

    def run(self) -> Floats:
        """Learn all labels; return what the effect added to the score of each, shape ``(n,)``."""
        batch, plan = self._batch, self._plan
        (looking,), (learning,) = (~plan.learned).nonzero(), plan.learned.nonzero()
        looking = looking[np.argsort(plan.step[looking], kind="stable")]
        learning = learning[np.lexsort((self._place[batch.entity[learning]], plan.step[learning]))]
        ends = np.bincount(plan.step[learning]).cumsum().tolist()
        looks = np.searchsorted(plan.step[looking], np.arange(len(ends) + 2)).tolist()
        labels = Labels(
            batch.features[learning],
            batch.offset[learning],
            batch.value[learning].astype(np.float64),
            batch.weight[learning],
        )
        for (first, last), (start, end) in zip(pairwise(looks), pairwise([0, *ends, None]), strict=True):
            if first < last:
                self._look(looking[first:last])
            if end is not None:
                self._step(learning[start:end], Labels(*(column[start:end] for column in labels)))
        for name, column in self._known.items():
            self._entities[name][self._first] = column
        return self._scores

    def _look(self, rows: Integers) -> None:
        """Score labels that change nothing."""
        features, entity = self._batch.features[rows], self._place[self._batch.entity[rows]]
        if self._plan.replaces[rows].any():
            known, added = _taken(self._known, entity), self._added_by(rows)
            coefficients = self._rule.retract(known, added, self._plan.kept[rows], features)["coefficients"]
        else:
            coefficients = self._known["coefficients"][entity]
        self._scores[rows] = log_odds(coefficients, features)

    def _step(self, rows: Integers, labels: Labels) -> None:
        """Score and learn a label of each of the first entities."""
        first = slice(len(rows))
        known, replaced = _taken(self._known, first), self._added_by(rows)
        if self._plan.replaces[rows].any():
            known = self._rule.retract(known, replaced, self._plan.kept[rows], labels.features)
        self._scores[rows] = log_odds(known["coefficients"], labels.features)
        known = self._rule.fade(known, self._plan.fading[rows])
        after, adds = self._rule.step(known, replaced, labels)
        counts = labels.weight > 0
        if not counts.all():
            # A label without weight only takes its predecessor back: it does not even feel the prior's pull.
            after = {name: _where(counts, column, known[name]) for name, column in after.items()}
            adds = {name: _where(counts, column, np.zeros_like(column)) for name, column in adds.items()}
        for name, column in after.items():
            self._known[name][first] = column
        application = self._batch.application[rows]
        for name, column in adds.items():
            self._contributions[name][application] = column

    def _added_by(self, rows: Integers) -> Columns:
        """Return what the labels' applications have added."""
        application = self._batch.application[rows]
        return {name: self._contributions[name][application] for name in self._added}


def _taken(columns: Columns, rows: Integers | slice) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _where(counts: Booleans, column: Column, otherwise: Column) -> Column:
    return np.asarray(np.where(counts.reshape(-1, *(1,) * (column.ndim - 1)), column, otherwise))


def _columns(records: Records, common: Sequence[str], fields: Fields) -> Columns:
    """Return fields of packed records, each as an array of its own: numpy is slow where fields are not aligned."""
    return {name: np.ascontiguousarray(records[name]) for name in (*common, *(name for name, *_ in fields))}


def _write_back(columns: Columns, records: Records) -> None:
    for name, column in columns.items():
        records[name] = column
