"""Who is there when, how sought after, with which features; and who applies to what."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_qa.durations import DAY
from stream_qa.errors import ConfigurationError

_WEEK = 7
_SATURDAY = 5
#: 1970-01-01 was a Thursday.
_EPOCH_WEEKDAY = 3
_WEEKEND_ACTIVITY = 0.6
#: Parameters of the beta distribution of an application's time of day: most come in the afternoon.
_TIME_OF_DAY = (3.0, 2.2)
_REDRAWS = 4
_FACTORS = 3
_SHARED_VARIANCE = 0.3
_APPLICATION_VARIANCE = 0.05


@dataclass(frozen=True, slots=True)
class Population:
    """The members or the jobs, by number from 0."""

    popularity: NDArray[np.float64]
    """Relative rate of applications while there, shape (entities,)."""
    first_day: NDArray[np.int64]
    """Day of arrival counted from the start, shape (entities,); negative for those who were there before."""
    last_day: NDArray[np.int64]
    """Last day, inclusive, shape (entities,)."""

    @classmethod
    def draw(
        cls, count: int, days: int, *, stay_days: tuple[float, float], skew: float, generator: np.random.Generator
    ) -> "Population":
        """Draw arrivals, stays and popularity.

        Parameters
        ----------
        count
            Entities.
        days
            Length of the simulation; all are there on at least one of its days.
        stay_days
            Shortest and longest stay, in days.
        skew
            Exponent of the Zipf law: the k-th most popular is sought after as k ** -skew.
        generator
            Source of randomness.
        """
        stay = generator.uniform(*stay_days, count)
        arrival = generator.uniform(-stay, days)
        popularity = generator.permutation(np.arange(1, count + 1) ** -skew)
        return cls(popularity, np.floor(arrival).astype(np.int64), np.floor(arrival + stay).astype(np.int64))

    def present(self, day: int) -> NDArray[np.int64]:
        """Return the numbers of those who are there on a day."""
        return np.flatnonzero((self.first_day <= day) & (day <= self.last_day))

    def choose(self, days: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """Return, for each of ``days`` (rows,), one who is there on that day, by popularity."""
        chosen = np.empty_like(days)
        for day in np.unique(days).tolist():
            rows = days == day
            present = self.present(day)
            popularity = self.popularity[present]
            chosen[rows] = generator.choice(present, np.count_nonzero(rows), p=popularity / popularity.sum())
        return chosen


def is_weekend(start: int, days: int) -> NDArray[np.bool_]:
    """Return which of the ``days`` days from ``start`` (ms, a midnight) are Saturdays and Sundays, shape (days,)."""
    return (start // DAY + _EPOCH_WEEKDAY + np.arange(days)) % _WEEK >= _SATURDAY


def draw_applications(
    members: Population, jobs: Population, *, start: int, days: int, count: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Draw who applies to what, and when; nobody applies to the same job twice.

    Returns
    -------
    tuple of arrays, each of shape (applications,), in time order
        ``applied_at`` (ms), the member's number, the job's number. At most ``count``: what still repeats a former
        application after a few redraws is left out.

    Raises
    ------
    ConfigurationError
        No member and no job are there on the same day.
    """
    possible = np.array([bool(members.present(day).size and jobs.present(day).size) for day in range(days)])
    activity = np.where(is_weekend(start, days), _WEEKEND_ACTIVITY, 1.0) * possible
    if not activity.any():
        raise ConfigurationError("no member and no job are there on the same day: simulate more of them, or more days")
    day = np.repeat(np.arange(days), generator.multinomial(count, activity / activity.sum()))
    member, job = members.choose(day, generator), jobs.choose(day, generator)
    for _ in range(_REDRAWS):
        repeated = _repeated(member, job)
        member[repeated] = members.choose(day[repeated], generator)
        job[repeated] = jobs.choose(day[repeated], generator)
    kept = np.flatnonzero(~_repeated(member, job))
    time_of_day = (generator.beta(*_TIME_OF_DAY, kept.size) * DAY).astype(np.int64)
    applied_at = start + day[kept] * DAY + np.minimum(time_of_day, DAY - 1)
    order = np.argsort(applied_at, kind="stable")
    return applied_at[order], member[kept][order], job[kept][order]


def _repeated(member: NDArray[np.int64], job: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs are the same as one before them, shape (rows,)."""
    repeated = np.ones(member.size, dtype=np.bool_)
    pair = member * (job.max(initial=0) + 1) + job
    repeated[np.unique(pair, return_index=True)[1]] = False
    return repeated


def draw_features(count: int, features: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return features of mean 0 and variance 1, shape (count, features): a few shared factors, and noise of their own.

    Real features go together (seniority, salary, years); independent ones would make the learner's life too easy.
    """
    loadings = generator.standard_normal((_FACTORS, features))
    loadings /= np.linalg.norm(loadings, axis=0)
    shared = generator.standard_normal((count, _FACTORS)) @ loadings
    own = generator.standard_normal((count, features))
    return math.sqrt(_SHARED_VARIANCE) * shared + math.sqrt(1 - _SHARED_VARIANCE) * own


def vary(features: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the features (rows, features) as they are at each application: a little different, the variance kept."""
    noise = generator.standard_normal(features.shape)
    return math.sqrt(1 - _APPLICATION_VARIANCE) * features + math.sqrt(_APPLICATION_VARIANCE) * noise
