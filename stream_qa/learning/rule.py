"""What a learning rule is: how an entity learns from a label, how it unlearns it, and how what it learned fades.

What an entity learned is a sum of what each label added, and every part of it fades with event time by the same
factor, ``exp(-t / time_constant)`` after ``t`` milliseconds, towards the prior. Since all parts fade alike, one label's
part can be taken out exactly, however much later: it is known by how much it has faded.

The driver is ``rounds.py``. It calls :meth:`Rule.retract` for a label that replaces an earlier one of its application,
then :meth:`Rule.fade` for the event time that has passed, then :meth:`Rule.step`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_qa.durations import DAY
from stream_qa.learning.arrays import Floats, within
from stream_qa.learning.global_model import probability

Column = NDArray[Any]
Columns = dict[str, Column]
"""Fields of ``n`` packed records, each an array of ``n`` rows."""

Fields = list[tuple[str, str, tuple[int, ...]]]
"""Name, numpy type and shape of each."""


class RuleNumber(IntEnum):
    """The rules, by the number that stands in packed state."""

    ADAPTIVE_SGD = 1
    SGD = 2
    WINDOW = 3

    def __str__(self) -> str:
        """Return the rule as ``STREAM_QA_LEARNING_RULE`` has it."""
        return self.name.lower().replace("_", "-")


class Labels(NamedTuple):
    """One label of each of ``n`` entities."""

    features: Floats
    """Whitened, shape ``(n, d)``."""
    offset: Floats
    """The log-odds of everything but this effect, shape ``(n,)``."""
    value: Floats
    """0 or 1, shape ``(n,)``."""
    weight: Floats
    """How much each counts, in (0, 1], shape ``(n,)``."""


@dataclass(frozen=True)
class Rule(ABC):
    """How entities learn. All arrays have a row for each of ``n`` different entities, and no row touches another.

    Parameters
    ----------
    time_constant
        Milliseconds of event time after which what was learned is 1/e of what it was; infinite for no fading.
    coefficient_bound
        No whitened coefficient ever leaves plus and minus this.
    """

    number: ClassVar[RuleNumber]

    time_constant: float = 365.0 * DAY
    coefficient_bound: float = 20.0

    @abstractmethod
    def learned_fields(self, dimension: int) -> Fields:
        """Return what is kept of an entity with ``dimension`` coefficients: ``coefficients`` and more; new is zeros."""

    @abstractmethod
    def added_fields(self, dimension: int) -> Fields:
        """Return what is kept of what a label added while it may be revised; zeros have added nothing."""

    @abstractmethod
    def retract(self, learned: Columns, added: Columns, kept: Floats, features: Floats) -> Columns:
        """Return what would be known without what a label added; where that is nothing, ``learned`` to the last bit.

        Parameters
        ----------
        learned
            What is known.
        added
            What :meth:`step` said that the label added.
        kept
            How much of that has not faded, in [0, 1], shape ``(n,)``.
        features
            The label's whitened features, shape ``(n, d)``.
        """

    @abstractmethod
    def fade(self, learned: Columns, kept: Floats) -> Columns:
        """Return what is known when only ``kept``, in [0, 1], shape ``(n,)``, of each part is left."""

    @abstractmethod
    def step(self, learned: Columns, replaced: Columns, labels: Labels) -> tuple[Columns, Columns]:
        """Learn one label of each of ``n`` entities.

        Parameters
        ----------
        learned
            What is known before.
        replaced
            What an earlier label of the application had added, now retracted; zeros where there was none.
        labels
            What to learn.

        Returns
        -------
        tuple of Columns and Columns
            What is known after, and what to keep for taking it back.
        """

    @abstractmethod
    def start(self, coefficients: Floats, curvature: Floats) -> Columns:
        """Return what is known of entities of which only a fit is left.

        Parameters
        ----------
        coefficients
            As they were fitted, shape ``(n, d)``.
        curvature
            About that of the log-loss of the labels behind them, along each coefficient, shape ``(n, d)``.
        """

    @abstractmethod
    def rescale_learned(self, learned: Columns, factor: Floats) -> Columns:
        """Return what is known for features that are ``factor``, shape ``(n, d)``, times what they were.

        No score changes by it. A factor of 1 changes nothing, to the last bit.
        """

    @abstractmethod
    def rescale_added(self, added: Columns, factor: Floats) -> Columns:
        """Return what :meth:`step` said that labels added for such features."""

    def bounded(self, coefficients: Floats) -> Floats:
        """Return ``coefficients``, any shape, cut off at the bound."""
        return within(coefficients, self.coefficient_bound)


def slope(coefficients: Floats, labels: Labels) -> Floats:
    """Return the derivative of the weighted log-loss by the log-odds, shape ``(n,)``: weight (probability - value)."""
    chance = probability(log_odds(coefficients, labels.features) + labels.offset)
    return labels.weight * (chance - labels.value)


def log_odds(coefficients: Floats, features: Floats) -> Floats:
    """Return the effect's part of the score, shape ``(n,)``, from two arrays of shape ``(n, d)``.

    Row by row, so that a row's result does not depend on which others stand beside it, to the last bit.
    """
    return np.asarray((coefficients * features).sum(axis=1))
