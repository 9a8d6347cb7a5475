"""How many moments of an entity lie before others, for many at once."""

from typing import Literal

import numpy as np

from stream_qa.learning.arrays import Floats, Integers


class EntityMoments:
    """Moments of entities, each in one order with all others: as ranks, entity and moment make one number.

    Parameters
    ----------
    entity
        Whose each is, from 0, shape ``(n,)``.
    moment
        Event time (ms), or infinity, shape ``(n,)``.
    """

    def __init__(self, entity: Integers, moment: Integers | Floats) -> None:
        self._moments, rank = np.unique(moment, return_inverse=True)
        self._places = len(self._moments) + 1
        self._sorted = np.sort(entity * self._places + rank)

    def count(self, entity: Integers, moment: Integers, side: Literal["left", "right"]) -> Integers:
        """Return how many of an entity's moments are before others (left), or not after them (right).

        Parameters
        ----------
        entity
            Whose are asked for, shape ``(m,)``.
        moment
            The others (ms), shape ``(m,)``.
        side
            Which.
        """
        first = entity * self._places
        end = first + np.searchsorted(self._moments, moment, side)
        return np.asarray(np.searchsorted(self._sorted, end) - np.searchsorted(self._sorted, first))
