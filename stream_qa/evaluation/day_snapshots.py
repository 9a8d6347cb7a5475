"""Scores of a day's applications by the coefficients with which the day began, as a server held them then."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from stream_qa.bundle import Bundle
from stream_qa.coefficients import CoefficientStore
from stream_qa.events import Delta, EntityKind, wire
from stream_qa.labels.policy import DAY
from stream_qa.learning.arrays import Floats


@dataclass(frozen=True)
class DayScores:
    """Log-odds of ``n`` applications, shapes ``(n,)``; NaN where none were asked for."""

    log_odds: Floats
    """Of the whole model, by the coefficients with which the application's day began."""
    frozen_member: Floats
    """The member's part alone, by the coefficients with which the first day began."""
    frozen_job: Floats
    """The same of the job's part."""


class DaySnapshots:
    """Follows deltas, a day (UTC) behind.

    Parameters
    ----------
    bundle
        Knows how features are standardised.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._model = bundle.global_model
        self._store = CoefficientStore()
        self._frozen: CoefficientStore | None = None
        self._day = 0
        self._changes: list[bytes] = []
        self._waiting: list[tuple[int, wire.Label]] = []
        self._scores: dict[int, tuple[float, float, float]] = {}

    def change(self, now: int, delta: bytes) -> None:
        """Take in a delta's message of the moment ``now`` (ms): it is for the next day."""
        self._come_to(now)
        self._changes.append(delta)

    def score(self, now: int, row: int, label: wire.Label) -> None:
        """Take in an application of the moment ``now`` (ms), by its first label."""
        self._come_to(now)
        self._waiting.append((row, label))

    def result(self, count: int) -> DayScores:
        """Return the scores of rows 0 to ``count``."""
        self._score_waiting()
        scores = np.full((3, count), np.nan)
        for row, parts in self._scores.items():
            scores[:, row] = parts
        return DayScores(*scores)

    def _come_to(self, now: int) -> None:
        if now // DAY == self._day:
            return
        self._day = now // DAY
        self._score_waiting()
        for delta in self._changes:
            self._store.apply(Delta.model_validate_json(delta))
        self._changes.clear()

    def _score_waiting(self) -> None:
        if not self._waiting:
            return
        if self._frozen is None:
            self._frozen = deepcopy(self._store)
        rows, labels = zip(*self._waiting, strict=True)
        self._waiting.clear()
        by_all = np.array([label.global_log_odds for label in labels])
        by_member, by_job = self._effects(self._store, labels)
        frozen_member, frozen_job = self._effects(self._frozen, labels)
        parts = np.stack([by_all + by_member + by_job, frozen_member, frozen_job], axis=1)
        self._scores.update(zip(rows, map(tuple, parts.tolist()), strict=True))

    def _effects(self, store: CoefficientStore, labels: Sequence[wire.Label]) -> tuple[Floats, Floats]:
        """Return the members' and the jobs' parts of the log-odds of ``n`` applications, shapes ``(n,)``."""
        member_features = np.array([wire.vector(label.member_features) for label in labels])
        job_features = np.array([wire.vector(label.job_features) for label in labels])
        members = _vectors(store, "member", [label.member_id for label in labels], 1 + job_features.shape[1])
        jobs = _vectors(store, "job", [label.job_id for label in labels], 1 + member_features.shape[1])
        return (
            _times(members, self._model.job_features.apply(job_features)),
            _times(jobs, self._model.member_features.apply(member_features)),
        )


def _vectors(store: CoefficientStore, kind: EntityKind, ids: Sequence[str], dimension: int) -> Floats:
    """Return what a store holds of entities, shape ``(n, d)``; zeros of those that it does not know."""
    held = [store.get(kind, entity_id) for entity_id in ids]
    return np.array([np.zeros(dimension) if one is None else one.vector for one in held])


def _times(vectors: Floats, features: Floats) -> Floats:
    return np.asarray(vectors[:, 0] + (vectors[:, 1:] * features).sum(axis=1))
