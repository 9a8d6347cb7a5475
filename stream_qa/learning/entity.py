"""The packed records of a learner's table: what is known of an entity, and what one label has added to it.

Little-endian, read and written many at once through numpy's record types. The first byte is the format's version.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream_qa.errors import StateFormatError

FORMAT = 1
Records = NDArray[np.void]

_ENTITY = b"entity/"
_CONTRIBUTION = b"contribution/"
_CLOCK = b"clock/"
_CONTRIBUTION_ORDER = struct.Struct(">Iq")
DIMENSION = b"dimension"


def entity_key(entity_id: str) -> bytes:
    """Return the key of an entity's record."""
    return _ENTITY + entity_id.encode()


def contribution_key(origin: int, applied_at: int, application_id: str) -> bytes:
    """Return the key of what an application's label has added.

    By origin and application time (ms), so that what is over is one range of the table.
    """
    return _CONTRIBUTION + _CONTRIBUTION_ORDER.pack(origin, applied_at) + application_id.encode()


def contribution_range(origin: int, since: int, until: int) -> tuple[bytes, bytes]:
    """Return the half-open key range of an origin's applications with ``since < applied_at <= until`` (ms).

    Event time begins at 0: a moment before it stands for that.
    """
    start, end = (_CONTRIBUTION + _CONTRIBUTION_ORDER.pack(origin, max(moment + 1, 0)) for moment in (since, until))
    return start, end


def clock_key(origin: int) -> bytes:
    """Return the key of the event time that an origin has reached."""
    return _CLOCK + origin.to_bytes(4, "big")


@lru_cache
def entity_type(dimension: int) -> np.dtype[np.void]:
    """Return the record type of an entity with ``dimension`` coefficients."""
    return np.dtype(
        [
            ("format", "u1"),
            ("dimension", "<u2"),
            ("version", "<i8"),
            ("labels", "<i8"),
            ("newest_at", "<i8"),
            ("coefficients", "<f8", (dimension,)),
            ("squares", "<f8", (dimension,)),
        ]
    )


@lru_cache
def contribution_type(dimension: int) -> np.dtype[np.void]:
    """Return the record type of a label's contribution: ``value`` is -1 while it has added nothing."""
    return np.dtype(
        [
            ("format", "u1"),
            ("dimension", "<u2"),
            ("revision", "<i8"),
            ("value", "i1"),
            ("weight", "<f8"),
            ("gradient", "<f8"),
            ("step", "<f8", (dimension,)),
        ]
    )


def unpack_many(kind: np.dtype[np.void], records: Sequence[bytes | None]) -> Records:
    """Return the records as an array of ``kind``, shape ``(n,)``; a missing one is new: zeros, and value -1.

    Raises
    ------
    StateFormatError
        A record was written in another format or for another number of features.
    """
    names = kind.names or ()
    dimension = kind["step" if "step" in names else "coefficients"].shape[0]
    padded = [(record or b"").ljust(kind.itemsize, b"\0") for record in records]
    if any(len(record) != kind.itemsize for record in padded):
        raise _other_format(dimension)
    array = np.frombuffer(b"".join(padded), kind).copy()
    new = np.array([record is None for record in records], np.bool_)
    if (~new & ((array["format"] != FORMAT) | (array["dimension"] != dimension))).any():
        raise _other_format(dimension)
    if "value" in names:
        array["value"][new] = -1
    array["format"] = FORMAT
    array["dimension"] = dimension
    return array


def _other_format(dimension: int) -> StateFormatError:
    return StateFormatError(f"a record is not of format {FORMAT} with {dimension} coefficients")


def pack_many(array: Records) -> list[bytes]:
    """Return one record for each element of ``array``; zeros at the end are left out, reading puts them back."""
    size = array.dtype.itemsize
    packed = array.tobytes()
    return [packed[start : start + size].rstrip(b"\0") for start in range(0, len(packed), size)]
