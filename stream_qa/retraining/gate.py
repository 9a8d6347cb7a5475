"""The gate: whether the 95% interval of a candidate's improvement lies above the margin. Pure arithmetic."""

import math
from dataclasses import dataclass

import numpy as np

from stream_qa.evaluation.metrics import auc_interval, drawn_means, interval
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.metrics import auc, log_loss

_DRAWS = 2_000
_LEAST_JOBS = 20
"""Below which draws of whole jobs say little of how sure a difference is; of a single one they say nothing."""


@dataclass(frozen=True)
class Trial:
    """How ``n`` applications of the days held back were scored, by the incumbent and by the candidate."""

    value: Floats
    """The final label, 0 or 1, shape ``(n,)``."""
    job: Integers
    """From 0 without gaps, shape ``(n,)``."""
    incumbent: Floats
    """Log-odds, shape ``(n,)``."""
    candidate: Floats
    """Log-odds, shape ``(n,)``."""


@dataclass(frozen=True)
class Gate:
    """What is asked of a candidate."""

    margin: float = 0.0005
    """By how much its log-loss must be lower, at the low end of the 95% interval."""
    least_applications: int = 500
    """Held back, below which nothing is decided."""
    least_of_a_label: int = 50
    """Positives, and negatives, below which nothing is decided."""


@dataclass(frozen=True)
class ModelFigures:
    """How good one model's scores were."""

    log_loss: float
    auc: float | None
    auc_low: float | None
    auc_high: float | None


@dataclass(frozen=True)
class Judgement:
    """What the gate says, and why."""

    is_better: bool
    reason: str
    applications: int
    positives: int
    jobs: int
    incumbent: ModelFigures
    candidate: ModelFigures
    improvement: float
    """Log-loss of the incumbent less that of the candidate."""
    improvement_low: float
    """The 95% interval, by draws of whole jobs."""
    improvement_high: float
    margin: float


def judge(trial: Trial, gate: Gate) -> Judgement:
    """Return whether the candidate passes: even the low end of its improvement is above the margin.

    Parameters
    ----------
    trial
        At least one application.
    gate
        What is asked.
    """
    count, positives, jobs = len(trial.value), int(trial.value.sum()), int(trial.job.max()) + 1
    saved = _losses(trial.value, trial.incumbent) - _losses(trial.value, trial.candidate)
    low, high = interval(drawn_means(saved, trial.job, replicates=_DRAWS)) or (math.nan, math.nan)
    improvement = float(saved.mean())
    bracketed = f"{improvement:+.5f}; the 95% interval, {low:+.5f} to {high:+.5f},"
    fewest = min(positives, count - positives)
    if count < gate.least_applications:
        better, reason = False, f"{count} applications are held back, where {gate.least_applications} are needed"
    elif fewest < gate.least_of_a_label:
        better, reason = False, f"{fewest} labels of a kind are held back, where {gate.least_of_a_label} are needed"
    elif jobs < _LEAST_JOBS:
        better, reason = False, f"applications to {jobs} jobs are held back, where {_LEAST_JOBS} are needed"
    elif low > gate.margin:
        better, reason = True, f"the log-loss is lower by {bracketed} lies above {gate.margin:g}"
    else:
        better, reason = False, f"the log-loss is lower by {bracketed} does not lie above {gate.margin:g}"
    return Judgement(
        is_better=better,
        reason=reason,
        applications=count,
        positives=positives,
        jobs=jobs,
        incumbent=_figures(trial, trial.incumbent),
        candidate=_figures(trial, trial.candidate),
        improvement=improvement,
        improvement_low=low,
        improvement_high=high,
        margin=gate.margin,
    )


def _losses(value: Floats, log_odds: Floats) -> Floats:
    """Return -log(probability of what came) of each, shape ``(n,)``."""
    return np.asarray(np.logaddexp(0.0, log_odds) - value * log_odds)


def _figures(trial: Trial, log_odds: Floats) -> ModelFigures:
    low, high = auc_interval(trial.value, log_odds, trial.job) or (None, None)
    return ModelFigures(log_loss(trial.value, log_odds), auc(trial.value, log_odds), low, high)
