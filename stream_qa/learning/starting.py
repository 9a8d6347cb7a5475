"""The coefficients of entities as they were fitted, a bundle's random effects, and how entities start from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stream_qa.labels.event_time import NOT_BEGUN
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.entity import Records
from stream_qa.learning.rule import Rule
from stream_qa.learning.whitening import Whitening

#: The variance of a label of which nothing is known: what it says is at most so much.
MOST_VARIANCE = 0.25


@dataclass(frozen=True, eq=False)
class EntityCoefficients:
    """What a fit says of ``m`` entities of one kind."""

    ids: Sequence[str]
    coefficients: Floats
    """Over standardised features, the intercept first, shape ``(m, d)``."""
    labels: Integers
    """How many applications are behind each, shape ``(m,)``."""
    newest_at: Integers
    """When the newest of their labels happened (ms), shape ``(m,)``."""

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {entity_id: row for row, entity_id in enumerate(self.ids)}

    def start(
        self, entities: Records, ids: Sequence[str], rule: Rule, whitening: Whitening, since: int = NOT_BEGUN
    ) -> None:
        """Let those of ``entities``, shape ``(n,)``, start that are new and were fitted, in place.

        The start is their version 1. Those without a label from ``since`` (ms) on do not start.
        """
        new = np.flatnonzero(entities["version"] == 0)
        rows = np.array([self._row_of.get(ids[number], -1) for number in new.tolist()], np.int64)
        # Those that were not fitted have no row to look at: there may be none at all.
        new, rows = new[rows >= 0], rows[rows >= 0]
        recent = self.newest_at[rows] >= since
        new, rows = new[recent], rows[recent]
        labels = self.labels[rows]
        # Standardised features vary by 1, so whitened ones by the prior's variance.
        curvature = MOST_VARIANCE * labels[:, np.newaxis] * whitening.scale**2
        for name, column in rule.start(self.coefficients[rows] / whitening.scale, curvature).items():
            entities[name][new] = column
        entities["version"][new] = 1
        entities["labels"][new] = labels
        entities["newest_at"][new] = self.newest_at[rows]
        entities["model"][new] = whitening.model_number
