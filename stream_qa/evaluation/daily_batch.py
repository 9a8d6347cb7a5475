"""What one deploys without a stream: both random effects refitted every night, and in use a day later.

The global model and the priors are the bundle's. A night's fit begins where the last one ended, and moves the entities
that got a label since; once a week it moves all. So half a year of nights costs minutes, not days.
"""

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from stream_qa.bundle import Bundle
from stream_qa.durations import DAY
from stream_qa.evaluation.evaluate import ModelScores
from stream_qa.evaluation.replayed import LabelSteps, Replayed
from stream_qa.learning import Prior
from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.rule import log_odds
from stream_qa.training.effect_fit import EffectFit
from stream_qa.training.joint_fit import with_intercept

_FIRST_SWEEPS = 30
_SWEEPS = 3
_TOLERANCE = 1e-2
_ALL_EVERY = 7


def matured_steps(rows: Replayed, window: int) -> LabelSteps:
    """Return the labels as they are known to who waits for the end of the window (ms): the final ones, then."""
    known = np.flatnonzero(~np.isnan(rows.final))
    known = known[np.argsort(rows.applied_at[known], kind="stable")]
    return LabelSteps(rows.applied_at[known] + window, known, rows.final[known], np.ones(len(known)))


def daily_batch(
    rows: Replayed,
    steps: LabelSteps,
    bundle: Bundle,
    since: int,
) -> ModelScores:
    """Return the scores of effects that are fitted at midnight (UTC) on what is known, and in use 24 hours later.

    Parameters
    ----------
    rows
        What was replayed. Those before ``since`` get the global model's score.
    steps
        What labels are known when.
    bundle
        The model bundle.
    since
        From then on (ms) scores are wanted.
    """
    model = bundle.global_model
    features = model.member_features.apply(rows.member_features), model.job_features.apply(rows.job_features)
    member = _Effect(rows.members.of, features[1], bundle.member_prior)
    job = _Effect(rows.jobs.of, features[0], bundle.job_prior)
    known = _Known(np.zeros(len(rows)), np.zeros(len(rows)))
    log_odds = rows.global_log_odds.copy()
    day_of = rows.applied_at // DAY
    first, last = since // DAY - 1, int(day_of.max()) - 1
    taken = 0
    for night in range(first, last + 1):
        upto = int(np.searchsorted(steps.known_at, night * DAY))
        changed = known.take(steps, taken, upto)
        taken = upto
        if night == first or (night - first) % _ALL_EVERY == 0:
            changed = np.flatnonzero(known.weights)
        if len(changed):
            sweeps = _FIRST_SWEEPS if night == first else _SWEEPS
            # Many small matrices: threads that share one would only wait for each other.
            with threadpool_limits(1):
                _fit(member, job, known, rows.global_log_odds, changed, sweeps=sweeps)
        served = day_of == night + 1
        log_odds[served] += member.score(served) + job.score(served)
    return ModelScores(log_odds, log_odds)


class _Known(NamedTuple):
    """What is known of ``n`` applications at a moment."""

    values: Floats
    weights: Floats
    """0 where nothing is."""

    def take(self, steps: LabelSteps, since: int, until: int) -> Integers:
        """Take in some steps; return the rows that they are about."""
        changed = steps.row[since:until]
        # Of several steps of a row the last one stays.
        self.values[changed] = steps.value[since:until]
        self.weights[changed] = steps.weight[since:until]
        return np.unique(changed)


class _Effect:
    """One effect's coefficients, and its part of the score of all rows."""

    def __init__(self, entity: Integers, features: Floats, prior: Prior) -> None:
        self.entity = entity
        self.features = with_intercept(features)
        self.precisions = prior.scale(self.features.shape[1]) ** -2.0
        self.coefficients = np.zeros((int(entity.max()) + 1, self.features.shape[1]))
        self.log_odds = np.zeros(len(entity))
        """Of rows that were fitted, shape ``(n,)``."""

    def score(self, rows: Booleans) -> Floats:
        return log_odds(self.coefficients[self.entity[rows]], self.features[rows])

    def of_changed(self, known: _Known, changed: Integers) -> tuple[EffectFit, Integers, Integers] | None:
        """Return a fit of the entities of changed rows, the entities, and all known rows of these."""
        chosen = np.zeros(len(self.coefficients), np.bool_)
        chosen[self.entity[changed]] = True
        rows = np.flatnonzero(chosen[self.entity] & (known.weights > 0))
        if not len(rows):
            return None
        entities, entity = np.unique(self.entity[rows], return_inverse=True)
        fit = EffectFit(entity, self.features[rows], known.values[rows], self.precisions, known.weights[rows])
        fit.coefficients[:] = self.coefficients[entities]
        return fit, entities, rows


def _fit(member: _Effect, job: _Effect, known: _Known, offset: Floats, changed: Integers, *, sweeps: int) -> None:
    """Move the entities of changed rows, members and jobs in turn."""
    of_member, of_job = member.of_changed(known, changed), job.of_changed(known, changed)
    if of_member is None or of_job is None:
        return
    for _ in range(sweeps):
        moved = 0.0
        for effect, other, (fit, entities, rows) in ((member, job, of_member), (job, member, of_job)):
            moved = max(moved, fit.step((offset + other.log_odds)[rows]))
            effect.coefficients[entities], effect.log_odds[rows] = fit.coefficients, fit.log_odds
        if moved <= _TOLERANCE:
            break
