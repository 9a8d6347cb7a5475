"""The global model and both random effects, fitted together.

Coordinate descent: the global model, the members' effects and the jobs' take a step in turn, each with the others'
parts of the score as its offset. Between the steps EM fits the priors of both effects: how far coefficients are from 0
is read off the entities themselves, an empirical Bayes.

References
----------
Zhang et al. (2016), GLMix: Generalized Linear Mixed Models For Large-Scale Response Prediction.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from stream_qa.errors import TrainingError
from stream_qa.learning import (
    LOG_ODDS_BOUND,
    LinearModel,
    OnnxFunction,
    OnnxModel,
    Standardisation,
)
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.global_model import brought_or
from stream_qa.learning.rule import log_odds
from stream_qa.training.effect_fit import EffectFit
from stream_qa.training.rows import Rows


@dataclass(frozen=True)
class HyperParameters:
    """What is decided before the fit."""

    feature_bound: float = 5.0
    """Standardised features are clipped to plus and minus this."""
    global_precision: float = 1.0
    """The penalty of the global model's weights; its intercept has none to speak of."""
    first_precision: float = 10.0
    """Of all coefficients of the random effects, before EM has fitted any."""
    least_precision: float = 0.3
    most_precision: float = 60.0
    prior_sweeps: int = 40
    """Sweeps over global model, members and jobs with an EM step each."""
    most_sweeps: int = 200
    """Of all sweeps, also those that follow with the priors as they are, until nothing moves."""
    tolerance: float = 1e-3
    """A coefficient that moves by no more in a sweep does not move."""


_INTERCEPT_PRECISION = 1e-6


@dataclass(frozen=True)
class FittedEffect:
    """What was fitted for one kind of entity."""

    precisions: Floats
    """Of the prior, shape ``(d,)``: the intercept first."""
    coefficients: Floats
    """Of ``m`` entities, over standardised features, shape ``(m, d)``."""

    def score(self, entity: Integers, features: Floats) -> Floats:
        """Return the log-odds ``(n,)`` of entities ``(n,)``, -1 for new ones, with standardised features ``(n, k)``."""
        known = np.vstack([self.coefficients, np.zeros(self.coefficients.shape[1])])[entity]
        return log_odds(known, with_intercept(features))


@dataclass(frozen=True)
class JointFit:
    """What was fitted."""

    global_model: LinearModel | OnnxModel
    member: FittedEffect
    """Over job features."""
    job: FittedEffect
    """Over member features."""
    sweeps: int
    converged: bool


class Scales(NamedTuple):
    """How the features of both sides are standardised."""

    member: Standardisation
    job: Standardisation


OnnxFit = Callable[[Rows], OnnxFunction]
"""Gives a global model that is an ONNX file, for some rows."""


def fit_jointly(
    rows: Rows,
    parameters: HyperParameters,
    advance: Callable[[], object] = lambda: None,
    *,
    onnx_fit: OnnxFit | None = None,
    scales: Scales | None = None,
    kept: LinearModel | OnnxModel | None = None,
) -> JointFit:
    """Return the fit of ``rows``.

    Applications that bring a global score keep it; the global model is fitted on the others.

    Parameters
    ----------
    rows
        One at least.
    parameters
        What is decided before.
    advance
        Is called after every sweep.
    onnx_fit
        Gives the global model, which then stays as it is, and the effects are fitted beside it; ``None`` for logistic
        regression.
    scales
        How features are standardised; by default by their own means and deviations.
    kept
        A global model that stays as it is, like one of ``onnx_fit``, whose scales are ``scales``.

    Raises
    ------
    TrainingError
        A feature is too large for its mean and deviation to be numbers.
    """
    member_features, job_features = scales or Scales(
        _standardisation("member", rows.member_features, parameters.feature_bound),
        _standardisation("job", rows.job_features, parameters.feature_bound),
    )
    of_member, of_job = member_features.apply(rows.member_features), job_features.apply(rows.job_features)
    if onnx_fit is not None:
        kept = OnnxModel(onnx_fit(rows), _base_log_odds(rows), member_features, job_features)
    if kept is not None:
        scores = kept.score(rows.member_features, rows.job_features)
        rows = replace(rows, brought=brought_or(scores, rows.brought))
    member_count, job_count = of_member.shape[1], of_job.shape[1]
    first = parameters.first_precision
    by_member = EffectFit(rows.members.of, with_intercept(of_job), rows.value, np.full(1 + job_count, first))
    by_job = EffectFit(rows.jobs.of, with_intercept(of_member), rows.value, np.full(1 + member_count, first))
    by_all = _Global(rows, with_intercept(of_member, of_job), parameters.global_precision)
    sweeps, moved = 0, np.inf
    while sweeps < parameters.prior_sweeps or (moved > parameters.tolerance and sweeps < parameters.most_sweeps):
        moved = max(
            by_all.step(by_member.log_odds + by_job.log_odds),
            by_member.step(by_all.log_odds + by_job.log_odds),
            by_job.step(by_all.log_odds + by_member.log_odds),
        )
        by_all.take_means(by_member, over=np.arange(1 + member_count, 1 + member_count + job_count))
        by_all.take_means(by_job, over=np.arange(1, 1 + member_count))
        if sweeps < parameters.prior_sweeps:
            for effect in (by_member, by_job):
                effect.fit_precisions(parameters.least_precision, parameters.most_precision)
        sweeps += 1
        advance()
    weights = by_all.weights
    return JointFit(
        kept
        or LinearModel(
            float(weights[0]), weights[1 : 1 + member_count], weights[1 + member_count :], member_features, job_features
        ),
        FittedEffect(by_member.precisions, by_member.coefficients),
        FittedEffect(by_job.precisions, by_job.coefficients),
        sweeps,
        bool(moved <= parameters.tolerance),
    )


def _base_log_odds(rows: Rows) -> float:
    """Return the log-odds of all, as if there had been one more of each label."""
    positives = rows.value.sum()
    return float(np.log((positives + 1.0) / (len(rows) - positives + 1.0)))


class _Global:
    """The global part of the scores: what applications bring, and for the others one effect over all of them."""

    def __init__(self, rows: Rows, features: Floats, precision: float) -> None:
        self._features = features
        self._own = np.flatnonzero(np.isnan(rows.brought))
        self.log_odds = np.clip(rows.brought, -LOG_ODDS_BOUND, LOG_ODDS_BOUND)
        self.log_odds[self._own] = 0.0
        self._fit: EffectFit | None = None
        if len(self._own):
            precisions = np.full(features.shape[1], precision)
            precisions[0] = _INTERCEPT_PRECISION
            everyone = np.zeros(len(self._own), np.int64)
            self._fit = EffectFit(everyone, features[self._own], rows.value[self._own], precisions)

    @property
    def weights(self) -> Floats:
        return np.zeros(self._features.shape[1]) if self._fit is None else self._fit.coefficients[0]

    def step(self, offset: Floats) -> float:
        if self._fit is None:
            return 0.0
        moved = self._fit.step(offset[self._own])
        self.log_odds[self._own] = self._fit.log_odds
        return moved

    def take_means(self, effect: EffectFit, over: Integers) -> None:
        """Take over what all entities of an effect have in common: no score changes, and their penalty shrinks.

        The steps alone come there too, but slowly. It is only so where the global model scores all rows.

        Parameters
        ----------
        effect
            Whose features are the intercept and some of the global model's.
        over
            Which of the global model's these are.
        """
        if self._fit is None or len(self._own) < len(self.log_odds):
            return
        columns = np.concatenate([[0], over])
        weights, precisions = self._fit.coefficients[0], self._fit.precisions[columns]
        sums, count = effect.coefficients.sum(axis=0), len(effect.coefficients)
        # Where the sum of both penalties is least.
        shift = (effect.precisions * sums - precisions * weights[columns]) / (effect.precisions * count + precisions)
        weights[columns] += shift
        effect.coefficients -= shift
        of_rows = self._features[:, columns] @ shift
        effect.log_odds -= of_rows
        self._fit.log_odds += of_rows
        self.log_odds += of_rows


def _standardisation(side: str, features: Floats, bound: float) -> Standardisation:
    with np.errstate(over="ignore", invalid="ignore"):
        standardisation = Standardisation.of(features, bound)
    usable = np.isfinite(standardisation.means) & np.isfinite(standardisation.scales)
    if not usable.all():
        raise TrainingError(f"{side} feature {np.argmin(usable) + 1} is too large to be standardised")
    return standardisation


def with_intercept(*features: Floats) -> Floats:
    """Return features ``(n, k)``, of one side or several, side by side with an intercept in front, ``(n, 1 + k)``."""
    return np.column_stack([np.ones(len(features[0])), *features])
