"""The score that is the same for everybody, and what log-odds are."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stream_qa.events import wire
from stream_qa.labels.life_cycle import KnownApplication
from stream_qa.learning.arrays import Floats, within
from stream_qa.learning.features import Standardisation

#: Log-odds beyond this say nothing more: a probability of 1e-13.
LOG_ODDS_BOUND = 30.0


def probability(log_odds: Floats) -> Floats:
    """Return the probabilities of ``log_odds``, any shape, float64."""
    return 1.0 / (1.0 + np.exp(-within(log_odds, LOG_ODDS_BOUND)))


class GlobalModel(Protocol):
    """Scores every application, whoever sends it: its own score where it brings one, else the model's."""

    @property
    def version(self) -> str:
        """The model bundle that it is of; ``none`` without one."""

    def log_odds(self, applications: Sequence[KnownApplication], member_features: Floats) -> Floats:
        """Return the global log-odds of ``n`` applications, shape ``(n,)``, within plus and minus ``LOG_ODDS_BOUND``.

        Row by row: a row's result does not depend on which others stand beside it, to the last bit; of an ONNX file
        that is true as far as of its runtime, which rounds some functions of one row otherwise than of several.

        Parameters
        ----------
        applications
            ``n`` applications.
        member_features
            Their members' features, raw, shape ``(n, k)``: read already, for the job's effect.
        """

    def score(self, member_features: Floats, job_features: Floats) -> Floats:
        """Return the log-odds, shape ``(n,)``, of raw features, shapes ``(n, k)`` and ``(n, l)``: the model's own."""


@dataclass(frozen=True, slots=True)
class BaseRate:
    """The same for all applications, where no model was trained."""

    base_rate: float = 0.25
    version: str = "none"

    def log_odds(self, applications: Sequence[KnownApplication], member_features: Floats) -> Floats:  # noqa: ARG002 # a rate looks at nothing
        """Return the global log-odds of applications; see :class:`GlobalModel`."""
        return brought_or(self._scores(len(applications)), _brought(applications))

    def score(self, member_features: Floats, job_features: Floats) -> Floats:  # noqa: ARG002 # a rate looks at nothing
        """Return the log-odds, shape ``(n,)``, of raw features, shapes ``(n, k)`` and ``(n, l)``."""
        return self._scores(len(member_features))

    def _scores(self, count: int) -> Floats:
        return np.full(count, math.log(self.base_rate / (1.0 - self.base_rate)))


class TrainedModel(ABC):
    """A global model that was trained on the features of both sides, as it is in a bundle."""

    member_features: Standardisation
    """The scale of a member's features, for the random effects as well."""
    job_features: Standardisation
    """The same of a job's."""
    version: str

    @abstractmethod
    def score(self, member_features: Floats, job_features: Floats) -> Floats:
        """Return the log-odds, shape ``(n,)``, within the bound, of raw features, shapes ``(n, k)`` and ``(n, l)``."""

    def log_odds(self, applications: Sequence[KnownApplication], member_features: Floats) -> Floats:
        """Return the global log-odds of applications; see :class:`GlobalModel`."""
        texts = [application.job_features for application in applications]
        scores = self.score(member_features, np.array(wire.vectors(texts), np.float64))
        return brought_or(scores, _brought(applications))


@dataclass(frozen=True, eq=False)
class LinearModel(TrainedModel):
    """Logistic regression over the standardised features of both sides."""

    intercept: float
    member_weights: Floats
    """Shape ``(k,)``."""
    job_weights: Floats
    """Shape ``(l,)``."""
    member_features: Standardisation
    job_features: Standardisation
    version: str = "none"

    def score(self, member_features: Floats, job_features: Floats) -> Floats:
        """Return the log-odds of raw features; see :class:`TrainedModel`."""
        by_member = (self.member_features.apply(member_features) * self.member_weights).sum(axis=1)
        by_job = (self.job_features.apply(job_features) * self.job_weights).sum(axis=1)
        return within(self.intercept + by_member + by_job, LOG_ODDS_BOUND)


def brought_or(scores: Floats, brought: Floats) -> Floats:
    """Return ``brought`` within the bound, and ``scores`` where it is NaN, shapes ``(n,)``."""
    return np.where(np.isnan(brought), scores, within(brought, LOG_ODDS_BOUND))


def _brought(applications: Sequence[KnownApplication]) -> Floats:
    return np.array([application.global_log_odds for application in applications], np.float64)
