"""Scores by coefficients that servers get at intervals: once an hour, a day, a week, and never again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import msgspec
import numpy as np

from stream_qa.bundle import Bundle
from stream_qa.coefficients import CoefficientStore, read_delta
from stream_qa.durations import DAY, HOUR
from stream_qa.events import EntityKind, wire
from stream_qa.learning import published_log_odds
from stream_qa.learning.arrays import Floats

_WEEK = 7 * DAY

Vectors = Mapping[tuple[EntityKind, str], Floats]


@dataclass(frozen=True)
class PublishedScores:
    """Log-odds of ``n`` applications, shapes ``(n,)``; NaN where none were asked for."""

    hourly: Floats
    """Of the whole model, by the coefficients with which the application's hour (UTC) began."""
    daily: Floats
    """The same of its day."""
    weekly: Floats
    """The same of its week, which begins on Thursdays as event time did in 1970."""
    daily_member: Floats
    """The member's part alone, by the coefficients with which the application's day began."""
    daily_job: Floats
    """The same of the job's part."""
    frozen_member: Floats
    """The member's part alone, by the coefficients with which the first application's day began."""
    frozen_job: Floats
    """The same of the job's part."""

    @classmethod
    def none(cls, count: int) -> "PublishedScores":
        """Return those of ``count`` applications for which none were asked."""
        return cls(*np.full((len(fields(cls)), count), np.nan))


class Publishing:
    """Follows deltas, and scores by what servers with different intervals hold.

    Parameters
    ----------
    bundle
        Knows how features are standardised.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._model = bundle.global_model
        self._newest = CoefficientStore()
        self._hourly, self._daily, self._weekly = (_Server(interval) for interval in (HOUR, DAY, _WEEK))
        self._frozen: Vectors | None = None
        self._hour = 0
        self._waiting: list[tuple[int, wire.Label]] = []
        self._scores: dict[int, tuple[float, ...]] = {}

    def change(self, now: int, key: bytes | None, value: bytes | None) -> None:
        """Take in a message of the deltas' topic of the moment ``now`` (ms).

        Servers have it when their next interval begins.
        """
        self._come_to(now)
        change = read_delta(key, value)
        self._newest.apply([change])
        held = self._newest.get(change.entity_kind, change.entity_id)
        for server in (self._hourly, self._daily, self._weekly):
            server.published[change.entity_kind, change.entity_id] = None if held is None else held.vector

    def score(self, now: int, row: int, label: wire.Label) -> None:
        """Take in an application of the moment ``now`` (ms), by its first label."""
        self._come_to(now)
        self._waiting.append((row, label))

    def result(self, count: int) -> PublishedScores:
        """Return the scores of rows 0 to ``count``."""
        self._score_waiting()
        scores = np.full((len(fields(PublishedScores)), count), np.nan)
        for row, parts in self._scores.items():
            scores[:, row] = parts
        return PublishedScores(*scores)

    def _come_to(self, now: int) -> None:
        if now // HOUR == self._hour:
            return
        self._hour = now // HOUR
        # All that wait are of one hour, which is in one day and one week.
        self._score_waiting()
        for server in (self._hourly, self._daily, self._weekly):
            server.come_to(now)

    def _score_waiting(self) -> None:
        if not self._waiting:
            return
        if self._frozen is None:
            self._frozen = dict(self._daily.vectors)
        rows, labels = zip(*self._waiting, strict=True)
        self._waiting.clear()
        by_all = np.array([label.global_log_odds for label in labels])
        member_features = self._model.member_features.apply(_features([label.member_features for label in labels]))
        job_features = self._model.job_features.apply(_features([label.job_features for label in labels]))

        def effects(vectors: Vectors) -> tuple[Floats, Floats]:
            """Return the members' and the jobs' parts of the log-odds, shapes ``(n,)``."""
            members = _held(vectors, "member", [label.member_id for label in labels], 1 + job_features.shape[1])
            jobs = _held(vectors, "job", [label.job_id for label in labels], 1 + member_features.shape[1])
            return published_log_odds(members, job_features), published_log_odds(jobs, member_features)

        hourly, daily, weekly = (effects(server.vectors) for server in (self._hourly, self._daily, self._weekly))
        whole = [by_all + by_member + by_job for by_member, by_job in (hourly, daily, weekly)]
        parts = np.stack([*whole, *daily, *effects(self._frozen)], axis=1)
        self._scores.update(zip(rows, map(tuple, parts.tolist()), strict=True))


class _Server:
    """Holds what was published until its current interval began."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._number = 0
        self.vectors: dict[tuple[EntityKind, str], Floats] = {}
        self.published: dict[tuple[EntityKind, str], Floats | None] = {}
        """What it does not have yet; ``None`` of an entity that was dropped."""

    def come_to(self, now: int) -> None:
        if now // self._interval == self._number:
            return
        self._number = now // self._interval
        for entity, vector in self.published.items():
            if vector is None:
                self.vectors.pop(entity, None)
            else:
                self.vectors[entity] = vector
        self.published.clear()


def _features(texts: Sequence[msgspec.Raw]) -> Floats:
    return np.array(wire.vectors(texts))


def _held(vectors: Vectors, kind: EntityKind, ids: Sequence[str], dimension: int) -> Floats:
    """Return the vectors of entities, shape ``(n, d)``; zeros of those that are not held."""
    nothing = np.zeros(dimension)
    return np.array([vectors.get((kind, entity_id), nothing) for entity_id in ids])
