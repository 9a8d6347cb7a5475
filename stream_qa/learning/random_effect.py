"""A random effect: one entity's linear deviation from the global model, over the other side's features.

There are two, set up from this one piece of code: a member's over job features, a job's over member features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stream_qa.events import EntityKind
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.entity import entity_type, unpack_many
from stream_qa.learning.features import Standardisation
from stream_qa.learning.prior import Prior
from stream_qa.learning.rule import Rule, log_odds
from stream_qa.learning.sgd import AdaptiveSGD

#: Published coefficients are multiples of this: sums and differences of such numbers are exact in float64, so a
#: server that adds deltas holds bit for bit what the worker published.
GRID = 2.0**-24


@dataclass(frozen=True)
class RandomEffect:
    """How one kind of entity learns."""

    kind: EntityKind
    prior: Prior = field(default_factory=Prior)
    rule: Rule = field(default_factory=AdaptiveSGD)
    features: Standardisation = field(default_factory=Standardisation)

    def whiten(self, features: Floats) -> Floats:
        """Return the rule's features, shape ``(n, 1 + k)``, from raw ``features``, shape ``(n, k)``.

        Standardised, an intercept in front, scaled by the prior.
        """
        count, width = features.shape
        design = np.ones((count, 1 + width))
        design[:, 1:] = self.features.apply(features)
        return design * self.prior.scale(1 + width)

    def score(self, entities: Sequence[bytes | None], features: Floats) -> tuple[Floats, Integers]:
        """Return the effect's log-odds and the entities' versions, shapes ``(n,)``.

        Parameters
        ----------
        entities
            ``n`` packed entities.
        features
            Raw, shape ``(n, k)``.

        Raises
        ------
        StateFormatError
            A record was written in a newer format or for another number of features.
        RuleMismatchError
            A record was written by another rule.
        """
        whitened = self.whiten(features)
        learned = unpack_many(entity_type(self.rule, whitened.shape[1]), entities)
        return log_odds(learned["coefficients"], whitened), learned["version"]

    def published(self, coefficients: Floats) -> Floats:
        """Return whitened ``coefficients``, shape ``(n, d)``, as servers multiply them with standardised features.

        Rounded to multiples of ``GRID``.
        """
        unwhitened = coefficients * self.prior.scale(coefficients.shape[1])
        # Adding zero turns the negative zeros of rounding into the one zero that sums of deltas give.
        return np.round(unwhitened / GRID) * GRID + 0.0
