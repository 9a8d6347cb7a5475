"""One effect of all its entities, fitted as a batch: penalised logistic regressions beside an offset.

Entities with about as many rows are padded to equally many and solved together. The global model is fitted by the same
code: it is the effect of one entity that has all rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stream_qa.learning import probability
from stream_qa.learning.arrays import Floats, Integers

_STEP_BOUND = 3.0
"""No coefficient moves further in one step."""
_MOST_HALVINGS = 10
_LEAST_CURVATURE = 1e-4
"""Of a row of which the model is sure: beside 0, rounding would be all that moves what is not penalised."""
_SLACK = 1e-12
"""A loss that grows by no more of itself has grown by rounding."""


@dataclass(frozen=True)
class _Group:
    """``e`` entities with ``r`` rows each at most."""

    entities: Integers
    """Shape ``(e,)``."""
    rows: Integers
    """Shape ``(e, r)``; any row where there is none."""
    weights: Floats
    """Shape ``(e, r)``: 0 where there is no row."""
    features: Floats
    """Shape ``(e, r, d)``: zeros where there is no row."""
    values: Floats
    """Shape ``(e, r)``."""


class EffectFit:
    """The coefficients of all entities of a kind, moved by Newton steps.

    Parameters
    ----------
    entity
        Which entity each row has, from 0 without gaps, shape ``(n,)``, ``n`` above 0.
    features
        Standardised, the intercept in front, shape ``(n, d)``.
    values
        Labels, 0 or 1, shape ``(n,)``.
    precisions
        The prior precisions of the coefficients, shape ``(d,)``.
    weights
        How much each row counts, above 0, shape ``(n,)``; ``None`` for all the same, 1.
    """

    def __init__(
        self,
        entity: Integers,
        features: Floats,
        values: Floats,
        precisions: Floats,
        weights: Floats | None = None,
    ) -> None:
        count, dimension = int(entity.max()) + 1, features.shape[1]
        self.coefficients = np.zeros((count, dimension))
        """Shape ``(m, d)``."""
        self.variances = np.tile(1.0 / precisions, (count, 1))
        """Of the coefficients where the last step began, by Laplace's approximation, shape ``(m, d)``."""
        self.precisions = precisions
        self.log_odds = np.zeros(len(entity))
        """The effect's part of each row's score, shape ``(n,)``."""
        self._groups = list(_groups(entity, features, values, np.ones(len(entity)) if weights is None else weights))

    def step(self, offset: Floats) -> float:
        """Move every entity by a Newton step, shortened until it helps; return the largest move of a coefficient.

        Parameters
        ----------
        offset
            The log-odds of everything but this effect, shape ``(n,)``.
        """
        return max(self._step(group, offset[group.rows]) for group in self._groups)

    def fit_precisions(self, least: float, most: float) -> None:
        """Set the prior's precisions to what coefficients and variances say, within bounds.

        The M step of EM, with Laplace's approximation for the E step: the prior variance of a coefficient is the mean
        of its posterior second moment over all entities.
        """
        second_moments = (self.coefficients**2 + self.variances).mean(axis=0)
        self.precisions = np.clip(1.0 / second_moments, least, most)

    def _step(self, group: _Group, offset: Floats) -> float:
        before = self.coefficients[group.entities]
        log_odds = offset + _times(group.features, before)
        chance = probability(log_odds)
        errors = (chance - group.values) * group.weights
        gradient = (errors[:, np.newaxis, :] @ group.features)[:, 0, :] + self.precisions * before
        curvature = np.maximum(chance * (1.0 - chance), _LEAST_CURVATURE) * group.weights
        hessian = group.features.transpose(0, 2, 1) @ (curvature[:, :, np.newaxis] * group.features)
        diagonal = np.arange(hessian.shape[1])
        hessian[:, diagonal, diagonal] += self.precisions
        covariance = np.asarray(np.linalg.inv(hessian), np.float64)
        self.variances[group.entities] = covariance[:, diagonal, diagonal]
        step = _times(covariance, gradient)
        # Shorter, not bent: the direction must stay one in which the loss falls.
        step *= np.minimum(1.0, _STEP_BOUND / np.maximum(np.abs(step).max(axis=1, keepdims=True), _STEP_BOUND))

        most = self._loss(group, log_odds, before) * (1.0 + _SLACK)
        for halving in range(_MOST_HALVINGS + 1):
            after = before - step
            log_odds = offset + _times(group.features, after)
            worse = self._loss(group, log_odds, after) > most
            if not worse.any():
                break
            step[worse] *= 0.5 if halving < _MOST_HALVINGS - 1 else 0.0
        self.coefficients[group.entities] = after
        present = group.weights > 0
        self.log_odds[group.rows[present]] = (log_odds - offset)[present]
        return float(np.abs(step).max())

    def _loss(self, group: _Group, log_odds: Floats, coefficients: Floats) -> Floats:
        """Return what each entity of a group minimises, shape ``(e,)``."""
        of_rows = (np.logaddexp(0.0, log_odds) - group.values * log_odds) * group.weights
        return np.asarray(of_rows.sum(axis=1) + 0.5 * (self.precisions * coefficients**2).sum(axis=1))


def _times(matrices: Floats, vectors: Floats) -> Floats:
    """Return the products of matrices ``(e, r, d)`` with vectors ``(e, d)``, shape ``(e, r)``."""
    return np.asarray((matrices @ vectors[:, :, np.newaxis])[:, :, 0])


def _groups(entity: Integers, features: Floats, values: Floats, weights: Floats) -> Iterator[_Group]:
    """Yield the entities in groups, none with more than half as many rows again as the smallest of the group."""
    order = np.argsort(entity, kind="stable")
    counts = np.bincount(entity)
    starts = np.cumsum(counts) - counts
    least = 1
    while least <= counts.max():
        most = least + least // 2
        entities = np.flatnonzero((counts >= least) & (counts <= most))
        if len(entities):
            columns = np.arange(counts[entities].max())
            present = columns < counts[entities][:, np.newaxis]
            rows = order[np.where(present, starts[entities][:, np.newaxis] + columns, 0)]
            yield _Group(
                entities,
                rows,
                weights[rows] * present,
                features[rows] * present[:, :, np.newaxis],
                values[rows],
            )
        least = most + 1
