"""The score that is the same for everybody, and what log-odds are."""

import math
from dataclasses import dataclass

import numpy as np

from stream_qa.learning.arrays import Floats

#: Log-odds beyond this say nothing more: a probability of 1e-13.
LOG_ODDS_BOUND = 30.0


def probability(log_odds: Floats) -> Floats:
    """Return the probabilities of ``log_odds``, any shape, float64."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -LOG_ODDS_BOUND, LOG_ODDS_BOUND)))


@dataclass(frozen=True, slots=True)
class GlobalModel:
    """The producer's own score where the application brings one, else the base rate."""

    base_rate: float = 0.25
    version: str = "none"

    def log_odds(self, brought: float | None) -> float:
        """Return the global log-odds of an application that has ``brought`` its own, or none, within the bound."""
        if brought is None:
            return math.log(self.base_rate / (1.0 - self.base_rate))
        return min(max(brought, -LOG_ODDS_BOUND), LOG_ODDS_BOUND)
