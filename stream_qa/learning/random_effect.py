"""A random effect: one entity's linear deviation from the global model, over the other side's features.

There are two, set up from this one piece of code: a member's over job features, a job's over member features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stream_qa.errors import StateFormatError
from stream_qa.events import EntityKind
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.entity import entity_type, unpack_layout, unpack_many
from stream_qa.learning.features import Standardisation
from stream_qa.learning.prior import Prior
from stream_qa.learning.rule import Rule, log_odds
from stream_qa.learning.sgd import AdaptiveSGD
from stream_qa.learning.starting import EntityCoefficients
from stream_qa.learning.whitening import Whitening, Whitenings

#: Published coefficients are multiples of this: sums and differences of such numbers are exact in float64, so a
#: server that adds deltas holds bit for bit what the worker published.
GRID = 2.0**-24


@dataclass(frozen=True)
class RandomEffect:
    """How one kind of entity learns by one model."""

    kind: EntityKind
    prior: Prior = field(default_factory=Prior)
    rule: Rule = field(default_factory=AdaptiveSGD)
    features: Standardisation = field(default_factory=Standardisation)
    model_number: int = 0
    model_version: str = "none"
    start: EntityCoefficients | None = None
    """From what entities start that the model knows; ``None`` for all from nothing."""
    _known: dict[tuple[bytes | None, int], Whitenings] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def dimension(self, layout: bytes | None, of_format_1: bytes | None) -> int | None:
        """Return how many coefficients a table's entities have; ``None`` leaves it to the first label.

        Parameters
        ----------
        layout, of_format_1
            The table's records under ``LAYOUT`` and, of format 1, ``DIMENSION``.

        Raises
        ------
        StateFormatError
            The table is of a newer format, or for another number of features.
        RuleMismatchError
            It was learned by another rule.
        """
        stored = unpack_layout(self.rule, layout, of_format_1)
        count = self.features.count
        if stored is None:
            return None if count is None else 1 + count
        if count is not None and 1 + count != stored:
            raise StateFormatError(f"the table has {stored - 1} features, the model bundle {count}")
        return stored

    def whitening(self, dimension: int) -> Whitening:
        """Return the scale of ``dimension`` coefficients."""
        return Whitening(self.model_number, self.model_version, self.prior.scale(dimension))

    def whitenings(self, record: bytes | None, dimension: int) -> Whitenings:
        """Return what a table's record says of the scales of ``dimension`` coefficients; only ours where there is none.

        Raises
        ------
        StateFormatError
            The record has another number of coefficients.
        ModelChangedError
            The table began with another prior.
        """
        known = self._known.get((record, dimension))
        if known is None:
            # Tables have the same record for weeks.
            self._known.clear()
            known = self._known[record, dimension] = Whitenings.unpack(record, self.whitening(dimension))
        return known

    def whiten(self, features: Floats, scales: Floats | None = None) -> Floats:
        """Return the rule's features, shape ``(n, 1 + k)``, from raw ``features``, shape ``(n, k)``.

        Standardised, an intercept in front, times ``scales``, shape ``(n, 1 + k)`` or one row for all; by default the
        prior's.
        """
        count, width = features.shape
        design = np.ones((count, 1 + width))
        design[:, 1:] = self.features.apply(features)
        return design * (self.prior.scale(1 + width) if scales is None else scales)

    def score(
        self, entities: Sequence[bytes | None], of: Integers, features: Floats, whitenings: bytes | None = None
    ) -> tuple[Floats, Integers]:
        """Return the effect's log-odds and the entities' versions, shapes ``(n,)``.

        Parameters
        ----------
        entities
            ``m`` packed entities.
        of
            Which of them each row is of, shape ``(n,)``.
        features
            Raw, shape ``(n, k)``.
        whitenings
            The record of the table's whitenings.

        Raises
        ------
        StateFormatError
            A record was written in a newer format or for another number of features.
        ModelChangedError
            The table began with another prior.
        RuleMismatchError
            A record was written by another rule.
        """
        dimension = 1 + features.shape[1]
        known = self.whitenings(whitenings, dimension)
        learned = unpack_many(entity_type(self.rule, dimension), entities)
        scales, coefficients, versions = known.scales(learned["model"]), learned["coefficients"], learned["version"]
        whitened = self.whiten(features, scales[of] if len(scales) > 1 else scales)
        return log_odds(coefficients[of], whitened), versions[of]

    def published(self, coefficients: Floats, scales: Floats | None = None) -> Floats:
        """Return whitened ``coefficients``, shape ``(n, d)``, as servers multiply them with standardised features.

        Rounded to multiples of ``GRID``. ``scales`` are of the same shape, or one row for all; by default the prior's.
        """
        unwhitened = coefficients * (self.prior.scale(coefficients.shape[1]) if scales is None else scales)
        # Adding zero turns the negative zeros of rounding into the one zero that sums of deltas give.
        return np.round(unwhitened / GRID) * GRID + 0.0


def published_log_odds(coefficients: Floats, features: Floats) -> Floats:
    """Return an effect's part of the score as servers compute it, shape ``(n,)``.

    Row by row, so that a row's result does not depend on which others stand beside it, to the last bit.

    Parameters
    ----------
    coefficients
        Published, shape ``(n, 1 + k)``: the intercept first.
    features
        Standardised, shape ``(n, k)``.
    """
    return np.asarray(coefficients[:, 0] + (coefficients[:, 1:] * features).sum(axis=1))
