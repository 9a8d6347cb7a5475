"""Silence curves from history: the share of positives that were answered by an age, and by what others got meanwhile.

At each age of a grid, every positive is looked at as it was then: how many others of its job had been answered since it
was sent, and whether it had been itself. The shares of each level of activity are drawn towards the share of all, as
far as their numbers are small, and made never to fall, neither with the age nor with the activity.
"""

from dataclasses import dataclass

import numpy as np

from stream_qa.labels.curves import SilenceCurves
from stream_qa.labels.policy import SilenceRule
from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.training.history import NEVER, History
from stream_qa.training.moments import EntityMoments

FEWEST_POSITIVES = 200
"""Below so many there are no curves; a level of activity that fewer reach is one with the level below."""
_LEVELS = (0, 1, 2, 4, 8)
_GRID = 40
"""The ages are those at which one more of so many equal parts of the positives is answered."""
_PULL = 20.0
"""So many imagined positives stand behind the share of all at each level."""
_SETTLED = 1e-9
_MOST_ROUNDS = 1_000


@dataclass(frozen=True)
class FittedCurves:
    """Silence curves and how they came about."""

    curves: SilenceCurves | None
    """``None`` where there are too few positives: then the rule ``later-response`` is used."""
    positives: int
    reason: str
    """In words."""


def fit_curves(history: History) -> FittedCurves:
    """Return the curves of the matured positives of ``history``."""
    positive = history.matured & (history.rows.value == 1)
    count = int(positive.sum())
    if count < FEWEST_POSITIVES:
        needed = f"{count} positives where {FEWEST_POSITIVES} are needed"
        reason = f"no silence curves: {needed}; the rule {SilenceRule.LATER_RESPONSE} is used"
        return FittedCurves(None, count, reason)
    answered_after = (history.answered_at - history.applied_at)[positive]
    ages = np.unique(np.quantile(answered_after, np.arange(_GRID + 1) / _GRID, method="inverted_cdf").astype(np.int64))
    ages = np.union1d(ages, [0])
    answered = answered_after[:, np.newaxis] <= ages
    by_age = answered.mean(axis=0)
    activity = _activity(history, positive, ages)
    levels = _levels(activity)
    if len(levels) == 1:
        reason = f"silence curves by age alone: fewer than {FEWEST_POSITIVES} positives saw others answered"
        return FittedCurves(_curves(ages, by_age), count, reason)
    shares = _shares(answered, np.searchsorted(levels, activity, side="right") - 1, len(levels), by_age)
    reason = f"silence curves by age and {len(levels)} levels of activity"
    return FittedCurves(_curves(ages, by_age, levels, shares), count, reason)


def _activity(history: History, positive: Booleans, ages: Integers) -> Integers:
    """Return how many others of its job were first answered since each positive was sent, shape ``(n, ages)``."""
    answered = history.answered_at != NEVER
    answers = EntityMoments(history.rows.jobs.of[answered], history.answered_at[answered])
    job, applied_at, answered_at = (
        history.rows.jobs.of[positive],
        history.applied_at[positive],
        history.answered_at[positive],
    )
    before = answers.count(job, applied_at, "right")
    activity = np.empty((len(job), len(ages)), np.int64)
    for column, age in enumerate(ages.tolist()):
        by_then = answers.count(job, applied_at + age, "right")
        own = (answered_at > applied_at) & (answered_at <= applied_at + age)
        activity[:, column] = by_then - before - own
    return activity


def _levels(activity: Integers) -> Integers:
    """Return the lowest activity of each level, those that enough positives reach while their window is open."""
    reached = activity[:, -1]
    levels = np.array(_LEVELS, np.int64)
    return levels[[level == 0 or int((reached >= level).sum()) >= FEWEST_POSITIVES for level in _LEVELS]]


def _shares(answered: Booleans, level: Integers, levels: int, by_age: Floats) -> Floats:
    """Return the share that is answered at each level and age, shape ``(levels, ages)``."""
    at = [level == number for number in range(levels)]
    count = np.array([there.sum(axis=0) for there in at], np.float64) + _PULL
    hits = np.array([(there & answered).sum(axis=0) for there in at], np.float64) + _PULL * by_age
    return never_falling(hits / count, count)


def never_falling(values: Floats, weights: Floats) -> Floats:
    """Return the table nearest to ``values`` that falls along no row and no column; nearest by weighted squares.

    Parameters
    ----------
    values
        Shape ``(r, c)``.
    weights
        Above 0, shape ``(r, c)``.

    References
    ----------
    Dykstra and Robertson (1982), An algorithm for isotonic regression for two or more independent variables: rows and
    columns in turn, each time without the correction that the last time has made.
    """
    fitted = values
    by_row, by_column = np.zeros_like(values), np.zeros_like(values)
    for _ in range(_MOST_ROUNDS):
        before = fitted
        rows = _isotonic(fitted - by_row, weights)
        by_row = rows - (fitted - by_row)
        fitted = _isotonic((rows - by_column).T, weights.T).T
        by_column = fitted - (rows - by_column)
        if np.abs(fitted - before).max() < _SETTLED and np.abs(fitted - rows).max() < _SETTLED:
            break
    # What is left is rounding.
    return np.maximum.accumulate(np.maximum.accumulate(fitted, axis=0), axis=1)


def _isotonic(values: Floats, weights: Floats) -> Floats:
    # Takes a third of a second to import, and every command imports this module.
    from scipy.optimize import isotonic_regression  # noqa: PLC0415

    return np.array([isotonic_regression(row, weights=weight).x for row, weight in zip(values, weights, strict=True)])


def _curves(
    ages: Integers, by_age: Floats, levels: Integers | None = None, shares: Floats | None = None
) -> SilenceCurves:
    return SilenceCurves(
        tuple(ages.tolist()),
        tuple(by_age.tolist()),
        () if levels is None else tuple(levels.tolist()),
        () if shares is None else tuple(map(tuple, np.clip(shares, 0.0, 1.0).tolist())),
    )
