"""What a score is made of: the global model's part, the member's and the job's. Pure arithmetic over arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stream_qa.coefficients import LookedUp
from stream_qa.errors import UnfitRequestError
from stream_qa.events import EntityKind
from stream_qa.learning import FeatureSchema, GlobalModel, Standardisation, probability, published_log_odds
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.global_model import brought_or
from stream_qa.stages.models import Model


class Side(NamedTuple):
    """The entities of one kind that a request is about."""

    ids: Sequence[str]
    """``m`` of them."""
    features: Floats
    """Raw, shape ``(m, k)``."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """``n`` pairs of a member and a job that are to be scored."""

    feature_schema: str
    members: Side
    jobs: Side
    member_of: Integers
    """Which of the members, shape ``(n,)``."""
    job_of: Integers
    """Which of the jobs, shape ``(n,)``."""
    brought: Floats
    """Global log-odds that the request brings instead of the model's, shape ``(n,)``; NaN where it brings none."""


@dataclass(frozen=True, eq=False)
class Scored:
    """``n`` scores, each part of shape ``(n,)``, in log-odds."""

    pairs: Pairs
    by_all: Floats
    """The global model's part."""
    by_member: Floats
    by_job: Floats
    members: LookedUp
    """What is held of the members of the request."""
    jobs: LookedUp

    @property
    def log_odds(self) -> Floats:
        """The score: the sum of the parts."""
        return self.by_all + self.by_member + self.by_job

    @property
    def probabilities(self) -> Floats:
        """The chance that the application is answered."""
        return probability(self.log_odds)

    @property
    def labels(self) -> Integers:
        """How many labels stand behind each, of both sides together."""
        return np.asarray(self.members.labels[self.pairs.member_of] + self.jobs.labels[self.pairs.job_of])


@dataclass(frozen=True)
class Scorer:
    """Scores pairs as the workers do, from what servers hold."""

    model: GlobalModel
    member_features: Standardisation
    job_features: Standardisation
    feature_schema: FeatureSchema | None
    """``None`` where there is no bundle: any will do, and what features mean is between producers and clients."""

    @classmethod
    def of(cls, model: Model) -> "Scorer":
        """Return what scores as the stages do by a model."""
        # A job's effect is over the member's features, and the other way round.
        return cls(model.global_model, model.job_effect.features, model.member_effect.features, model.feature_schema)

    def check(self, pairs: Pairs) -> None:
        """Check that pairs have the features that the model is for.

        Raises
        ------
        UnfitRequestError
            They have others.
        """
        if self.feature_schema is None:
            return
        schema = FeatureSchema(pairs.feature_schema, pairs.members.features.shape[1], pairs.jobs.features.shape[1])
        if schema != self.feature_schema:
            raise UnfitRequestError(f"the features are {schema}, where this service scores {self.feature_schema}")

    def dimensions(self, pairs: Pairs) -> dict[EntityKind, int]:
        """Return how many coefficients entities have: an intercept, and one a feature of the other side."""
        return {"member": 1 + pairs.jobs.features.shape[1], "job": 1 + pairs.members.features.shape[1]}

    def score(self, pairs: Pairs, held: Mapping[EntityKind, LookedUp]) -> Scored:
        """Return the scores of pairs whose members and jobs were looked up.

        Coefficients count whichever model they were learned by: all models of a worker group have the same scales.
        Row by row: a row's result does not depend on which others stand beside it, to the last bit.
        """
        members, jobs = held["member"], held["job"]
        of_member, of_job = pairs.members.features[pairs.member_of], pairs.jobs.features[pairs.job_of]
        return Scored(
            pairs,
            brought_or(self.model.score(of_member, of_job), pairs.brought),
            published_log_odds(members.vectors[pairs.member_of], self.job_features.apply(of_job)),
            published_log_odds(jobs.vectors[pairs.job_of], self.member_features.apply(of_member)),
            members,
            jobs,
        )
