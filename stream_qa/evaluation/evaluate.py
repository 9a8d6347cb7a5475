"""Every model's scores on the same rows, and how good they are."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from stream_qa.durations import DAY
from stream_qa.errors import EvaluationError
from stream_qa.evaluation.metrics import auc_interval, calibration_error, ndcg, pair_auc
from stream_qa.evaluation.replayed import Replayed
from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.metrics import auc, log_loss


class Target(StrEnum):
    """What scores are held against."""

    FINAL = "final"
    """The final label: heard back within the window."""
    OUTCOME = "outcome"
    """Whether a positive engagement comes at all, as far as the log goes."""


@dataclass(frozen=True)
class ModelScores:
    """What a model says of ``n`` applications."""

    log_odds: Floats
    """When they arrived, shape ``(n,)``."""
    day_log_odds: Floats
    """By what the model was when the day began, shape ``(n,)``."""


@dataclass(frozen=True)
class Quality:
    """How good a model's scores are."""

    name: str
    auc: float | None
    """``None``, as all others, where all targets are alike."""
    auc_low: float | None
    auc_high: float | None
    log_loss: float
    ece: float
    ndcg_at_10: float | None
    pair_auc: float | None
    applications: int


def gain(of: Quality, over: Quality) -> float | None:
    """Return by which share of the other's the AUC is larger; ``None`` where one has none."""
    return None if of.auc is None or not over.auc else of.auc / over.auc - 1.0


@dataclass(frozen=True)
class Scored:
    """The ``n`` applications whose scores count."""

    rows: Integers
    """Which of all that were replayed."""
    target: Floats
    """0 or 1, shape ``(n,)``."""
    job: Integers
    """From 0, shape ``(n,)``."""
    group: Integers
    """The same for applications of one job and day (UTC), shape ``(n,)``."""

    @classmethod
    def of(cls, rows: Replayed, target: Floats, since: int) -> "Scored":
        """Return those of ``rows`` sent at ``since`` (ms) or later whose target, shape ``(n,)``, is not NaN.

        Raises
        ------
        EvaluationError
            There are none.
        """
        chosen: Booleans = (rows.applied_at >= since) & ~np.isnan(target)
        if not chosen.any():
            raise EvaluationError("no application between --from and --until has a target that is known")
        found = np.flatnonzero(chosen)
        _, job = np.unique(rows.jobs.of[found], return_inverse=True)
        _, group = np.unique(np.stack([job, rows.applied_at[found] // DAY]), axis=1, return_inverse=True)
        return cls(found, target[found], job, group.reshape(-1))


def quality(name: str, scores: ModelScores, scored: Scored, seed: int = 0) -> Quality:
    """Return how good scores of all replayed applications are on those that count.

    Parameters
    ----------
    name
        Of the model.
    scores
        Of all that were replayed.
    scored
        Those that count.
    seed
        Of the interval's draws.
    """
    values, log_odds = scored.target, scores.log_odds[scored.rows]
    of_day = scores.day_log_odds[scored.rows]
    low, high = auc_interval(values, log_odds, scored.job, seed) or (None, None)
    return Quality(
        name=name,
        auc=auc(values, log_odds),
        auc_low=low,
        auc_high=high,
        log_loss=log_loss(values, log_odds),
        ece=calibration_error(values, log_odds),
        ndcg_at_10=ndcg(values, of_day, scored.group),
        pair_auc=pair_auc(values, of_day, scored.group),
        applications=len(values),
    )
