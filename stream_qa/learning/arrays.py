"""The array types of this package."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def distinct(values: Sequence[V]) -> tuple[list[V], Integers]:
    """Return the distinct ``values`` in order of appearance, and which of them each is, shape ``(n,)``."""
    index = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return list(index), np.array([index[value] for value in values], np.int64)


def within(values: Floats, bound: float) -> Floats:
    """Return ``values``, any shape, cut off at plus and minus ``bound``; NaN stays NaN."""
    # Of a few numbers numpy's clip takes several times as long.
    return np.minimum(np.maximum(values, -bound), bound)
