"""The learning rule: adaptive online steps that can be taken back.

The step is AdaGrad's (Duchi, Hazan and Singer, 2011) on the weighted log-loss of one label, in the space whitened by
the prior. For every label that may still be revised the caller keeps the gradient and the step, so that a revision
first takes the old one out and then steps again: an application never counts twice.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stream_qa.learning.arrays import Floats
from stream_qa.learning.global_model import probability


class Learned(NamedTuple):
    """What a rule knows of ``n`` entities with ``d`` coefficients each."""

    coefficients: Floats
    """Shape ``(n, d)``, in whitened space."""
    squares: Floats
    """Shape ``(n, d)``: the sum of squared gradients of the labels behind the coefficients."""


class Contribution(NamedTuple):
    """What one label of each of ``n`` entities has added; zeros take back to nothing."""

    gradient: Floats
    """Shape ``(n,)``: weight times (probability - value)."""
    step: Floats
    """Shape ``(n, d)``: what was added to the coefficients."""


@dataclass(frozen=True, slots=True)
class AdaptiveSGD:
    """AdaGrad with exact retraction.

    Parameters
    ----------
    learning_rate
        The length of a coordinate's first steps.
    epsilon
        Damps the first steps: added to the sum of squares.
    prior_pull
        The share of the prior's pull towards 0 that each step takes.
    coefficient_bound
        No whitened coefficient ever leaves plus and minus this.
    """

    learning_rate: float = 0.5
    epsilon: float = 1.0
    prior_pull: float = 0.01
    coefficient_bound: float = 20.0

    def retract(self, learned: Learned, contribution: Contribution, features: Floats) -> Learned:
        """Return what would be known without ``contribution``, whose features were ``features`` ``(n, d)``.

        Exact, but where later steps were cut off at the bound: there it stays the bound.
        """
        gradient = contribution.gradient[:, np.newaxis] * features
        # Rounding may leave a sum of squares a hair below zero, of which there is no root.
        squares = np.maximum(learned.squares - gradient * gradient, 0.0)
        bound = self.coefficient_bound
        return Learned(np.clip(learned.coefficients - contribution.step, -bound, bound), squares)

    def step(
        self, learned: Learned, features: Floats, offset: Floats, value: Floats, weight: Floats
    ) -> tuple[Learned, Contribution]:
        """Take one step for each of ``n`` entities.

        Parameters
        ----------
        learned
            What is known before.
        features
            Whitened features, shape ``(n, d)``.
        offset
            The log-odds of everything but this effect, shape ``(n,)``.
        value
            The labels, 0 or 1, shape ``(n,)``.
        weight
            How much each counts, in [0, 1], shape ``(n,)``.

        Returns
        -------
        tuple of Learned and Contribution
            What is known after, and what to keep for taking it back.
        """
        coefficients, squares = learned
        gradient = weight * (probability(log_odds(coefficients, features) + offset) - value)
        gradients = gradient[:, np.newaxis] * features
        squares = squares + gradients * gradients
        moved = coefficients - self.learning_rate * (gradients + self.prior_pull * coefficients) / np.sqrt(
            self.epsilon + squares
        )
        moved = np.clip(moved, -self.coefficient_bound, self.coefficient_bound)
        return Learned(moved, squares), Contribution(gradient, moved - coefficients)


def log_odds(coefficients: Floats, features: Floats) -> Floats:
    """Return the effect's part of the score, shape ``(n,)``, from two arrays of shape ``(n, d)``.

    Row by row, so that a row's result does not depend on which others stand beside it, to the last bit.
    """
    return np.asarray((coefficients * features).sum(axis=1))
