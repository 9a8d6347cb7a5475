"""The rules that take one gradient step a label: plain, and adaptive.

Both step on the weighted log-loss of one label, in the space whitened by the prior. For every label that may still be
revised its step is kept, so that a revision first takes the old one out and then steps again: an application never
counts twice.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stream_qa.learning.arrays import Floats
from stream_qa.learning.rule import Columns, Fields, Labels, Rule, RuleNumber, slope


@dataclass(frozen=True)
class AdaptiveSGD(Rule):
    """AdaGrad (Duchi, Hazan and Singer, 2011): steps become shorter in the coordinates that have moved much.

    The coefficients are the sum of the labels' steps, which fade. ``squares`` is that of their squared gradients, which
    do not: how fast an entity learns is no knowledge of it.

    Parameters
    ----------
    learning_rate
        The length of a coordinate's first steps.
    epsilon
        Damps the first steps: added to the sum of squares.
    prior_pull
        The share of the prior's pull towards 0 that each step takes.
    """

    number: ClassVar[RuleNumber] = RuleNumber.ADAPTIVE_SGD

    learning_rate: float = 0.5
    epsilon: float = 1.0
    prior_pull: float = 0.01

    def learned_fields(self, dimension: int) -> Fields:
        """Return the coefficients and the sums of squared gradients."""
        return [("coefficients", "<f8", (dimension,)), ("squares", "<f8", (dimension,))]

    def added_fields(self, dimension: int) -> Fields:
        """Return the gradient, weight times (probability - value), and what was added to the coefficients."""
        return [("gradient", "<f8", ()), ("step", "<f8", (dimension,))]

    def retract(self, learned: Columns, added: Columns, kept: Floats, features: Floats) -> Columns:
        """Take a step out. Exact, but where later steps were cut off at the bound: there it stays the bound."""
        gradient = added["gradient"][:, np.newaxis] * features
        return {
            "coefficients": self.bounded(learned["coefficients"] - kept[:, np.newaxis] * added["step"]),
            # Rounding may leave a sum of squares a hair below zero, of which there is no root.
            "squares": np.maximum(learned["squares"] - gradient * gradient, 0.0),
        }

    def fade(self, learned: Columns, kept: Floats) -> Columns:
        """Bring the coefficients nearer to the prior's mean, 0."""
        return {**learned, "coefficients": learned["coefficients"] * kept[:, np.newaxis]}

    def start(self, coefficients: Floats, curvature: Floats) -> Columns:
        """Go on with short steps where much is behind: squared gradients are, on average, as large as the curvature."""
        return {"coefficients": self.bounded(coefficients), "squares": curvature}

    def rescale_learned(self, learned: Columns, factor: Floats) -> Columns:
        """Shrink coefficients as features grow; gradients grow with them."""
        return {
            "coefficients": self.bounded(learned["coefficients"] / factor),
            "squares": learned["squares"] * (factor * factor),
        }

    def rescale_added(self, added: Columns, factor: Floats) -> Columns:
        """Shrink steps as coefficients shrink; the gradient is one by the log-odds."""
        return {"gradient": added["gradient"], "step": added["step"] / factor}

    def step(self, learned: Columns, replaced: Columns, labels: Labels) -> tuple[Columns, Columns]:
        """Take one step for each of ``n`` entities."""
        del replaced
        coefficients = learned["coefficients"]
        gradient = slope(coefficients, labels)
        gradients = gradient[:, np.newaxis] * labels.features
        squares = learned["squares"] + gradients * gradients
        moved = coefficients - self.learning_rate * (gradients + self.prior_pull * coefficients) / np.sqrt(
            self.epsilon + squares
        )
        moved = self.bounded(moved)
        return (
            {"coefficients": moved, "squares": squares},
            {"gradient": gradient, "step": moved - coefficients},
        )


@dataclass(frozen=True)
class SGD(Rule):
    """Plain stochastic gradient steps of bounded length: half the state of the adaptive ones.

    Parameters
    ----------
    learning_rate
        A step's length over that of the gradient.
    longest_step
        No step is longer, as a vector.
    prior_pull
        The share of the prior's pull towards 0 that each step takes.
    """

    number: ClassVar[RuleNumber] = RuleNumber.SGD

    learning_rate: float = 0.5
    longest_step: float = 1.0
    prior_pull: float = 0.01

    def learned_fields(self, dimension: int) -> Fields:
        """Return the coefficients: the sum of the labels' steps."""
        return [("coefficients", "<f8", (dimension,))]

    def added_fields(self, dimension: int) -> Fields:
        """Return what was added to the coefficients."""
        return [("step", "<f8", (dimension,))]

    def retract(self, learned: Columns, added: Columns, kept: Floats, features: Floats) -> Columns:
        """Take a step out. Exact, but where later steps were cut off at the bound: there it stays the bound."""
        del features
        return {"coefficients": self.bounded(learned["coefficients"] - kept[:, np.newaxis] * added["step"])}

    def fade(self, learned: Columns, kept: Floats) -> Columns:
        """Bring the coefficients nearer to the prior's mean, 0."""
        return {"coefficients": learned["coefficients"] * kept[:, np.newaxis]}

    def start(self, coefficients: Floats, curvature: Floats) -> Columns:
        """Go on from there."""
        del curvature
        return {"coefficients": self.bounded(coefficients)}

    def rescale_learned(self, learned: Columns, factor: Floats) -> Columns:
        """Shrink coefficients as features grow."""
        return {"coefficients": self.bounded(learned["coefficients"] / factor)}

    def rescale_added(self, added: Columns, factor: Floats) -> Columns:
        """Shrink steps as coefficients shrink."""
        return {"step": added["step"] / factor}

    def step(self, learned: Columns, replaced: Columns, labels: Labels) -> tuple[Columns, Columns]:
        """Take one step for each of ``n`` entities."""
        del replaced
        coefficients = learned["coefficients"]
        gradients = slope(coefficients, labels)[:, np.newaxis] * labels.features
        step = -self.learning_rate * (gradients + self.prior_pull * coefficients)
        length = np.sqrt((step * step).sum(axis=1))
        step *= (self.longest_step / np.maximum(length, self.longest_step))[:, np.newaxis]
        moved = self.bounded(coefficients + step)
        return {"coefficients": moved}, {"step": moved - coefficients}
