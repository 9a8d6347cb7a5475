"""Quality match: whether the chance that an application is answered is high enough to be pointed out.

A flag is set at one probability and taken back below a lower one, so that it does not flicker when a score moves a
little; and there is none before enough labels stand behind the score.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from stream_qa.learning.arrays import Booleans, Floats, Integers


class Verdict(StrEnum):
    """Whether there is a flag, and why."""

    MATCH = "match"
    """Flagged: the probability is high enough."""
    KEPT = "kept"
    """Flagged: it was before, and the probability has not fallen far enough."""
    BELOW = "below"
    """Not flagged: the probability is too low."""
    LITTLE_EVIDENCE = "little-evidence"
    """Not flagged, whatever the probability: too few labels stand behind it."""

    @property
    def flagged(self) -> bool:
        """Whether there is a flag."""
        return self in {Verdict.MATCH, Verdict.KEPT}


_REASONS = (Verdict.LITTLE_EVIDENCE, Verdict.MATCH, Verdict.KEPT, Verdict.BELOW)


@dataclass(frozen=True)
class MatchPolicy:
    """When a score is a match."""

    threshold: float = 0.5
    """The probability at which a flag is set; :func:`lowest_threshold` finds it for a wanted precision."""
    margin: float = 0.05
    """A flag is kept down to this much below the threshold."""
    least_labels: int = 5
    """Labels behind both sides together."""


class Threshold(NamedTuple):
    """A threshold, and what flags at or above it would have been worth."""

    probability: float
    precision: float
    """The share of positives among the flagged."""
    recall: float
    """The share of the flagged among the positives."""
    flagged: int


def judge(probabilities: Floats, labels: Integers, flagged_before: Booleans, policy: MatchPolicy) -> list[Verdict]:
    """Return a verdict for each of ``n`` scores; a score's verdict does not depend on the others.

    Parameters
    ----------
    probabilities
        Shape ``(n,)``.
    labels
        How many labels stand behind each, of both sides together, shape ``(n,)``.
    flagged_before
        Whether the last verdict was a flag, shape ``(n,)``.
    policy
        The threshold and the rest.
    """
    reasons = np.select(
        [
            labels < policy.least_labels,
            probabilities >= policy.threshold,
            flagged_before & (probabilities >= policy.threshold - policy.margin),
        ],
        [0, 1, 2],
        3,
    )
    return [_REASONS[reason] for reason in reasons.tolist()]


def lowest_threshold(probabilities: Floats, values: Floats, precision: float, least_flagged: int) -> Threshold | None:
    """Return the lowest threshold at which past scores would have had a precision; ``None`` where no threshold has.

    Parameters
    ----------
    probabilities
        Of scores made before the outcomes were known, shape ``(n,)``.
    values
        The outcomes, 0 or 1, shape ``(n,)``.
    precision
        The wanted share of positives among the flagged.
    least_flagged
        A precision of fewer scores than this is not believed; at least 1.
    """
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order]
    positives = np.cumsum(values[order])
    counts = np.arange(1, len(order) + 1)
    # A threshold flags all scores that are equal to it, so only the last of them can be where the flags end.
    ends = np.append(falling[1:] != falling[:-1], True)[: len(falling)]
    good = np.flatnonzero(ends & (counts >= least_flagged) & (positives / counts >= precision))
    if not len(good):
        return None
    last = good[-1]
    hits, count = float(positives[last]), int(counts[last])
    recall = hits / float(positives[-1]) if hits else 0.0
    return Threshold(float(falling[last]), hits / count, recall, count)
