"""Two generations' scores of the same applications, each made when the application came, held against the outcomes."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from stream_qa.errors import EvaluationError
from stream_qa.evaluation.metrics import drawn_aucs, drawn_means, interval
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.metrics import auc


class Verdict(StrEnum):
    """What the difference of log-losses says of the newer generation."""

    BETTER = "the newer one is better"
    WORSE = "the newer one is worse"
    UNDECIDED = "no difference is seen"


@dataclass(frozen=True)
class Bracketed:
    """A figure and its 95% interval over jobs."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Scores:
    """What one generation said of ``n`` applications when they came."""

    log_odds: Floats
    """Shape ``(n,)``."""
    global_log_odds: Floats
    """Without what was learned of member and job, shape ``(n,)``."""


@dataclass(frozen=True)
class Quality:
    """How good a generation's scores are."""

    log_loss: Bracketed
    auc: Bracketed | None
    """``None`` where all outcomes are alike."""
    global_log_loss: Bracketed


@dataclass(frozen=True)
class Comparison:
    """The newer generation beside the older one."""

    older: int
    newer: int
    since: int
    """Applications sent before (ms) do not count."""
    applications: int
    jobs: int
    positives: int
    differing: int
    """Applications that would count, had both generations labelled them alike."""
    refused: int
    """Records of both that are no scores, or no labels, and were left out."""
    older_quality: Quality
    newer_quality: Quality
    log_loss_difference: Bracketed
    """Of the newer one less the older one: below 0 is better."""
    auc_difference: Bracketed | None
    """Of the newer one less the older one: above 0 is better."""

    @property
    def verdict(self) -> Verdict:
        """What the whole interval of the difference of log-losses says."""
        if self.log_loss_difference.high < 0:
            return Verdict.BETTER
        return Verdict.WORSE if self.log_loss_difference.low > 0 else Verdict.UNDECIDED


def compare(
    generations: tuple[int, int],
    scores: tuple[Scores, Scores],
    values: Floats,
    job: Integers,
    *,
    since: int,
    differing: int,
    refused: int = 0,
) -> Comparison:
    """Compare two generations on the same ``n`` applications.

    Parameters
    ----------
    generations
        The numbers of the older and of the newer one.
    scores
        Those of each.
    values
        What became of the applications, 0 or 1, shape ``(n,)``.
    job
        Which job each is of, from 0, shape ``(n,)``.
    since
        From when on applications count (ms).
    differing
        How many are left out as the generations labelled them differently.
    refused
        How many records are no scores, or no labels.

    Raises
    ------
    EvaluationError
        There are none.
    """
    if not len(values):
        raise EvaluationError("there is no application that both generations have scored and whose window is over")
    losses, aucs = [_losses(values, each.log_odds) for each in scores], [_auc(values, each, job) for each in scores]
    both = None if aucs[0] is None or aucs[1] is None else (aucs[0], aucs[1])
    return Comparison(
        older=generations[0],
        newer=generations[1],
        since=since,
        applications=len(values),
        jobs=int(job.max()) + 1,
        positives=int(values.sum()),
        differing=differing,
        refused=refused,
        older_quality=_quality(values, scores[0], job, aucs[0]),
        newer_quality=_quality(values, scores[1], job, aucs[1]),
        log_loss_difference=_mean(losses[1] - losses[0], job),
        auc_difference=None if both is None else _bracketed(both[1][0] - both[0][0], both[1][1] - both[0][1]),
    )


def _quality(values: Floats, scores: Scores, job: Integers, found: tuple[float, Floats] | None) -> Quality:
    return Quality(
        log_loss=_mean(_losses(values, scores.log_odds), job),
        auc=None if found is None else _bracketed(*found),
        global_log_loss=_mean(_losses(values, scores.global_log_odds), job),
    )


def _losses(values: Floats, log_odds: Floats) -> Floats:
    """Return -log(probability of what came) of each, shape ``(n,)``."""
    return np.asarray(np.logaddexp(0.0, log_odds) - values * log_odds)


def _auc(values: Floats, scores: Scores, job: Integers) -> tuple[float, Floats] | None:
    """Return the AUC and those of the draws, which are the same for both generations."""
    found = auc(values, scores.log_odds)
    return None if found is None else (found, drawn_aucs(values, scores.log_odds, job))


def _mean(each: Floats, job: Integers) -> Bracketed:
    return _bracketed(float(each.mean()), drawn_means(each, job))


def _bracketed(value: float, draws: Floats) -> Bracketed:
    low, high = interval(draws) or (float("nan"), float("nan"))
    return Bracketed(value, low, high)
