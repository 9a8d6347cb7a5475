"""How a store keeps an entity's coefficients: packed, so that many are read at once through numpy's record types.

Little-endian: a head of fixed length, the vector, the model version in UTF-8. Two records of an entity with the same
head are the same.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_qa.coefficients.protocol import Coefficients
from stream_qa.errors import StateFormatError
from stream_qa.learning.arrays import Floats, Integers

FORMAT = 1
_HEAD = [("format", "u1"), ("dimension", "<u2"), ("version", "<i8"), ("labels", "<i8"), ("newest_at", "<i8")]
_head_type = np.dtype(_HEAD)
HEAD_BYTES = _head_type.itemsize


class Unpacked(NamedTuple):
    """``n`` records of one dimension ``d``, or zeros in their place."""

    vectors: Floats
    """Shape ``(n, d)``."""
    versions: Integers
    labels: Integers
    newest: Integers
    model_versions: list[str]


def head(record: bytes | None) -> bytes:
    """Return what tells a record from any other of its entity; nothing for no record."""
    return b"" if record is None else record[:HEAD_BYTES]


def pack(coefficients: Coefficients) -> bytes:
    """Return the record."""
    dimension = len(coefficients.vector)
    array = np.zeros((), _type(dimension))
    array["format"] = FORMAT
    array["dimension"] = dimension
    array["version"] = coefficients.version
    array["labels"] = coefficients.labels
    array["newest_at"] = coefficients.newest_at
    array["vector"] = coefficients.vector
    return array.tobytes() + coefficients.model_version.encode()


def unpack(record: bytes) -> Coefficients:
    """Return what was packed.

    Raises
    ------
    StateFormatError
        It was written in another format.
    """
    dimension = dimension_of(record)
    unpacked = unpack_many([record], dimension)
    return Coefficients(
        int(unpacked.versions[0]),
        unpacked.vectors[0],
        int(unpacked.labels[0]),
        int(unpacked.newest[0]),
        unpacked.model_versions[0],
    )


def dimension_of(record: bytes) -> int:
    """Return how many coefficients a record has.

    Raises
    ------
    StateFormatError
        It was written in another format.
    """
    if len(record) < HEAD_BYTES or record[0] != FORMAT:
        raise StateFormatError(f"a store's record is not of format {FORMAT}")
    return int.from_bytes(record[1:3], "little")


def unpack_many(records: Sequence[bytes | None], dimension: int) -> Unpacked:
    """Return many records; zeros and no model version where there is none, or one with another number of coefficients.

    Raises
    ------
    StateFormatError
        A record was written in another format.
    """
    kind = _type(dimension)
    size, head_of_all = kind.itemsize, bytes([FORMAT]) + dimension.to_bytes(2, "little")
    records = [
        record if record is None or record[:3] == head_of_all or dimension_of(record) == dimension else None
        for record in records
    ]
    nothing = bytes(size)
    array: NDArray[np.void] = np.frombuffer(
        b"".join([nothing if record is None else record[:size] for record in records]), kind
    )
    tails = [b"" if record is None else record[size:] for record in records]
    # They are few, and the same ones again and again.
    names = {tail: tail.decode() for tail in set(tails)}
    model_versions = [names[tail] for tail in tails]
    vectors, versions, labels, newest = (
        np.ascontiguousarray(array[name]) for name in ("vector", "version", "labels", "newest_at")
    )
    return Unpacked(vectors, versions, labels, newest, model_versions)


@lru_cache
def _type(dimension: int) -> np.dtype[np.void]:
    return np.dtype([*_HEAD, ("vector", "<f8", (dimension,))])
