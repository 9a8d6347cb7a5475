"""Scores of a day's applications by the coefficients with which the day began, as a server held them then."""

import numpy as np

from stream_qa.bundle import Bundle
from stream_qa.coefficients import CoefficientStore
from stream_qa.events import Delta, EntityKind, wire
from stream_qa.labels.policy import DAY
from stream_qa.learning import Standardisation
from stream_qa.learning.arrays import Floats


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
        self._day = 0
        self._changes: list[bytes] = []
        self._waiting: list[tuple[int, wire.Label]] = []
        self._scores: dict[int, float] = {}

    def change(self, now: int, delta: bytes) -> None:
        """Take in a delta's message of the moment ``now`` (ms): it is for the next day."""
        self._come_to(now)
        self._changes.append(delta)

    def score(self, now: int, row: int, label: wire.Label) -> None:
        """Take in an application of the moment ``now`` (ms), by its first label."""
        self._come_to(now)
        self._waiting.append((row, label))

    def result(self, count: int) -> Floats:
        """Return the log-odds of rows 0 to ``count``, NaN where none was asked for."""
        self._score_waiting()
        scores = np.full(count, np.nan)
        scores[list(self._scores)] = list(self._scores.values())
        return scores

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
        rows, labels = zip(*self._waiting, strict=True)
        self._waiting.clear()
        member_features = np.array([wire.vector(label.member_features) for label in labels])
        job_features = np.array([wire.vector(label.job_features) for label in labels])
        by_member = self._effect(
            "member", [label.member_id for label in labels], self._model.job_features, job_features
        )
        by_job = self._effect("job", [label.job_id for label in labels], self._model.member_features, member_features)
        by_all = np.array([label.global_log_odds for label in labels])
        self._scores.update(zip(rows, (by_all + by_member + by_job).tolist(), strict=True))

    def _effect(self, kind: EntityKind, ids: list[str], scale: Standardisation, features: Floats) -> Floats:
        """Return one effect's part of the log-odds, shape ``(n,)``, with raw features ``(n, k)`` of the other side."""
        nothing = np.zeros(1 + features.shape[1])
        held = [self._store.get(kind, entity_id) for entity_id in ids]
        vectors = np.array([nothing if one is None else one.vector for one in held])
        return np.asarray(vectors[:, 0] + (vectors[:, 1:] * scale.apply(features)).sum(axis=1))
