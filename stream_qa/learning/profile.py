"""What the data of a training looked like, and what later data have of it.

Of each feature its range and the shares of its values up to some edges, of labels the share of positives, of positives
how soon they were answered. A sample counts the same of later data. Samples are sums: how the data are cut into chunks
changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stream_qa.learning.arrays import Floats, Integers

_EDGES = np.arange(1, 10) / 10
"""The edges are the values up to which so large a share of the training's were."""


class SideSample(NamedTuple):
    """What later values of one side's ``k`` features have of a profile."""

    outside: Integers
    """How many are outside of the training's range, shape ``(k,)``."""
    up_to: Integers
    """How many are at most each edge, and how many are below it, shape ``(k, 2, e)``."""
    least: Floats
    """Shape ``(k,)``; infinite where there are none."""
    most: Floats
    """The same, minus infinity."""

    def plus(self, other: "SideSample") -> "SideSample":
        """Return what both have together."""
        return SideSample(
            self.outside + other.outside,
            self.up_to + other.up_to,
            np.minimum(self.least, other.least),
            np.maximum(self.most, other.most),
        )


class FeatureSample(NamedTuple):
    """What new applications have of a profile."""

    applications: int
    member: SideSample
    job: SideSample

    def plus(self, other: "FeatureSample") -> "FeatureSample":
        """Return what both have together."""
        return FeatureSample(
            self.applications + other.applications, self.member.plus(other.member), self.job.plus(other.job)
        )


class LabelSample(NamedTuple):
    """What the labels of applications whose window has closed have of a profile."""

    labels: int
    positives: int

    def plus(self, other: "LabelSample") -> "LabelSample":
        """Return what both have together."""
        return LabelSample(self.labels + other.labels, self.positives + other.positives)


class AnswerSample(NamedTuple):
    """What the positives among these have of a profile."""

    answers: int
    answered: Integers
    """How many were answered by each age, shape ``(a,)``."""

    def plus(self, other: "AnswerSample") -> "AnswerSample":
        """Return what both have together."""
        return AnswerSample(self.answers + other.answers, self.answered + other.answered)


@dataclass(frozen=True, eq=False)
class SideProfile:
    """One side's ``k`` features as they were in a training."""

    names: tuple[str, ...]
    """No two are the same."""
    least: Floats
    """Shape ``(k,)``."""
    most: Floats
    """Shape ``(k,)``."""
    edges: Floats
    """Values, never falling along a row, shape ``(k, e)``."""
    up_to: Floats
    """The share of the training's values that are at most each edge, and that are below it, shape ``(k, 2, e)``."""

    @classmethod
    def of(cls, features: Floats, names: Sequence[str]) -> "SideProfile":
        """Return that of ``features``, raw, shape ``(n, k)``, ``n`` above 0."""
        edges = np.quantile(features, _EDGES, axis=0, method="inverted_cdf").T
        up_to = _up_to(features, edges) / len(features)
        return cls(tuple(names), features.min(axis=0), features.max(axis=0), edges, up_to)

    def sample(self, features: Floats) -> SideSample:
        """Return what ``features``, raw, shape ``(n, k)``, have of this."""
        outside = (features < self.least) | (features > self.most)
        return SideSample(
            np.count_nonzero(outside, axis=0),
            _up_to(features, self.edges),
            features.min(axis=0, initial=np.inf),
            features.max(axis=0, initial=-np.inf),
        )


@dataclass(frozen=True, eq=False)
class Profile:
    """What the data of a training looked like."""

    member: SideProfile
    job: SideProfile
    positive_share: float
    """Of final labels."""
    ages: Integers
    """Ages (ms), ascending, shape ``(a,)``; none where the training had too few positives."""
    answered: Floats
    """The share of positives that were answered by each, shape ``(a,)``."""

    def features(self, member: Floats, job: Floats) -> FeatureSample:
        """Return what new applications have of this, by their raw features, shapes ``(n, k)`` and ``(n, l)``."""
        return FeatureSample(len(member), self.member.sample(member), self.job.sample(job))

    def answers(self, after: Integers) -> AnswerSample:
        """Return what positives have of this that were answered first ``after`` so long (ms), shape ``(p,)``."""
        return AnswerSample(len(after), np.count_nonzero(after[:, np.newaxis] <= self.ages, axis=0))


def _up_to(values: Floats, edges: Floats) -> Integers:
    """Return how many of ``values``, shape ``(n, k)``, are at most each of ``edges`` ``(k, e)``, and how many below.

    Both: where many values are the same, an edge is one of them, and what is just below it is another thing.
    """
    each = values[:, :, np.newaxis]
    return np.stack([np.count_nonzero(each <= edges, axis=0), np.count_nonzero(each < edges, axis=0)], axis=1)
