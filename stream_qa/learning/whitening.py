"""By which scales the records of a learner's table are whitened: those of every model that it has learned by.

A model brings a prior, and coefficients are kept in the space that the prior whitens. When a model takes another's
place, records stay as they are until a label touches them: each says by its model's number in which space it is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from stream_qa.errors import ModelChangedError, StateFormatError
from stream_qa.learning.arrays import Floats, Integers

#: The key of the table's record of them.
WHITENINGS = b"whitenings"


class Whitening(NamedTuple):
    """The scale that one model brings."""

    model_number: int
    model_version: str
    scale: Floats
    """The prior's standard deviations, the intercept first, shape ``(d,)``."""


class Whitenings:
    """Those of all models that a table was learned by.

    Parameters
    ----------
    known
        In the order of their numbers; that of the first model is 0.
    """

    def __init__(self, known: Sequence[Whitening]) -> None:
        self._known = list(known)
        self._numbers = np.array([whitening.model_number for whitening in known], np.int64)
        self._scales = np.array([whitening.scale for whitening in known], np.float64)

    @classmethod
    def unpack(cls, record: bytes | None, first: Whitening) -> "Whitenings":
        """Return what :meth:`pack` packed, or only ``first`` where there is no record.

        Raises
        ------
        ModelChangedError
            The table began with another prior than ``first``.
        StateFormatError
            The record has another number of coefficients.
        """
        if record is None:
            return cls([first])
        known = [Whitening(number, version, np.array(scale)) for number, version, scale in _decode(record)]
        if known[0].scale.shape != first.scale.shape:
            raise StateFormatError(f"the table has {len(known[0].scale)} coefficients, the model {len(first.scale)}")
        if not np.array_equal(known[0].scale, first.scale):
            raise ModelChangedError(
                f"the state began with the priors of model {known[0].model_version}, "
                f"and those of {first.model_version} are others"
            )
        return cls(known)

    def pack(self) -> bytes:
        """Return the record."""
        return msgspec.json.encode([(*whitening[:2], whitening.scale.tolist()) for whitening in self._known])

    @property
    def newest(self) -> Whitening:
        """That of the model that is learned by now."""
        return self._known[-1]

    def followed_by(self, whitening: Whitening) -> "Whitenings":
        """Return these and one more, of a larger number."""
        return Whitenings([*self._known, whitening])

    def scales(self, model_numbers: Integers) -> Floats:
        """Return the scales of records ``(n,)`` by their models' numbers, shape ``(n, d)``, or ``(1, d)`` for all."""
        if len(self._known) == 1:
            return self._scales
        return np.asarray(self._scales[np.searchsorted(self._numbers, model_numbers)])

    def model_versions(self, model_numbers: Integers) -> list[str]:
        """Return the versions of the models of records ``(n,)`` by their numbers."""
        return [self._known[index].model_version for index in np.searchsorted(self._numbers, model_numbers).tolist()]


_decode = msgspec.json.Decoder(list[tuple[int, str, list[float]]]).decode
