"""The packed records of a learner's table: what is known of an entity, and what one label has added to it.

Little-endian, read and written many at once through numpy's record types. The first byte is the format's version, the
second the rule. Records of format 1, which the adaptive rule wrote before anything faded, are read as they were meant,
and so are those of format 2, from when there was one model for ever, and of format 3, from when no account was kept.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from stream_qa.errors import RuleMismatchError, StateFormatError
from stream_qa.learning.rule import Fields, Rule, RuleNumber

FORMAT = 4
Records = NDArray[np.void]

_FORMAT_1 = 1
_FORMAT_2 = 2
_FORMAT_3 = 3
_BEFORE = tuple(bytes([number]) for number in (_FORMAT_1, _FORMAT_2, _FORMAT_3))
_ENTITY = b"entity/"
_CONTRIBUTION = b"contribution/"
_CLOCK = b"clock/"
_CONTRIBUTION_ORDER = struct.Struct(">Iq")
#: The number of the model whose prior whitens the record: format 2 had all before it and not this.
_MODEL: tuple[str, str, tuple[int, ...]] = ("model", "<u4", ())
#: The account of what an entity's part has done to scores: format 3 had all before it and not this.
_ACCOUNT: Fields = [("harm", "<u2", ()), ("surprise", "<u2", ()), ("flooded", "<u4", ()), ("harmful", "u1", ())]
#: Whether it was held back when it moved last; records of before this end without it.
_WITHHELD: tuple[str, str, tuple[int, ...]] = ("withheld", "u1", ())
#: Format, rule and number of coefficients: the record of a table's layout, and with what each of its records begins.
_LAYOUT = struct.Struct("<BBH")
#: The record of a table's format, rule and number of coefficients.
LAYOUT = b"layout"
#: The number of coefficients as format 1 had it.
DIMENSION = b"dimension"


def entity_key(entity_id: str) -> bytes:
    """Return the key of an entity's record."""
    return _ENTITY + entity_id.encode()


def entity_of(key: bytes) -> str | None:
    """Return the id of an entity by its record's key; ``None`` for the key of anything else."""
    return key.removeprefix(_ENTITY).decode() if key.startswith(_ENTITY) else None


def entity_range() -> tuple[bytes, bytes]:
    """Return the half-open key range of all entities."""
    return _ENTITY, _after(_ENTITY)


def contribution_key(origin: int, applied_at: int, application_id: str) -> bytes:
    """Return the key of what an application's label has added.

    By origin and application time (ms), so that what is over is one range of the table.
    """
    return _CONTRIBUTION + _CONTRIBUTION_ORDER.pack(origin, applied_at) + application_id.encode()


def is_contribution(key: bytes) -> bool:
    """Return whether a key is one of those."""
    return key.startswith(_CONTRIBUTION)


def contribution_range(origin: int, since: int, until: int) -> tuple[bytes, bytes]:
    """Return the half-open key range of an origin's applications with ``since < applied_at <= until`` (ms).

    Event time begins at 0: a moment before it stands for that.
    """
    start, end = (_CONTRIBUTION + _CONTRIBUTION_ORDER.pack(origin, max(moment + 1, 0)) for moment in (since, until))
    return start, end


def clock_key(origin: int) -> bytes:
    """Return the key of the event time that an origin has reached."""
    return _CLOCK + origin.to_bytes(4, "big")


def origin_of(key: bytes) -> int:
    """Return the origin whose event time is under a key."""
    return int.from_bytes(key.removeprefix(_CLOCK), "big")


def clock_range() -> tuple[bytes, bytes]:
    """Return the half-open key range of the event times of all origins."""
    return _CLOCK, _after(_CLOCK)


def _after(prefix: bytes) -> bytes:
    """Return the first key after all that begin with ``prefix``."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


@dataclass(frozen=True)
class RecordType:
    """How the records of one kind are laid out."""

    dtype: np.dtype[np.void]
    before: np.dtype[np.void]
    """The same in format 1."""
    rule: RuleNumber
    dimension: int

    @cached_property
    def header(self) -> bytes:
        """With what every record begins."""
        return _LAYOUT.pack(FORMAT, self.rule, self.dimension)

    @cached_property
    def new(self) -> bytes:
        """The record of what is not in the table yet: zeros, and value -1."""
        array = np.frombuffer(self.header.ljust(self.dtype.itemsize, b"\0"), self.dtype).copy()
        if "value" in (self.dtype.names or ()):
            array["value"] = -1
        return array.tobytes()


@lru_cache
def entity_type(rule: Rule, dimension: int) -> RecordType:
    """Return the record type of an entity with ``dimension`` coefficients.

    ``decay`` is the sum of all event time over which the entity faded, in time constants. After ``model`` comes the
    account that :mod:`stream_qa.learning.entity_guard` keeps, and whether servers do not know of the last move.
    """
    common: Fields = [("version", "<i8", ()), ("labels", "<i8", ()), ("newest_at", "<i8", ())]
    return RecordType(
        _dtype([*common, ("decay", "<f8", ()), *rule.learned_fields(dimension), _MODEL, *_ACCOUNT, _WITHHELD], FORMAT),
        _dtype([*common, ("coefficients", "<f8", (dimension,)), ("squares", "<f8", (dimension,))], _FORMAT_1),
        rule.number,
        dimension,
    )


@lru_cache
def contribution_type(rule: Rule, dimension: int) -> RecordType:
    """Return the record type of a label's contribution: ``value`` is -1 while it has added nothing.

    ``decay`` is the entity's when the label was learned.
    """
    common: Fields = [("revision", "<i8", ()), ("value", "i1", ()), ("weight", "<f8", ())]
    return RecordType(
        _dtype([*common, ("decay", "<f8", ()), *rule.added_fields(dimension), _MODEL], FORMAT),
        _dtype([*common, ("gradient", "<f8", ()), ("step", "<f8", (dimension,))], _FORMAT_1),
        rule.number,
        dimension,
    )


def _dtype(fields: Fields, of_format: int) -> np.dtype[np.void]:
    header: Fields = [("format", "u1", ())]
    if of_format > _FORMAT_1:
        header.append(("rule", "u1", ()))
    return np.dtype([*header, ("dimension", "<u2", ()), *fields])


def pack_layout(rule: Rule, dimension: int) -> bytes:
    """Return the record that says how a table's other records are laid out."""
    return _LAYOUT.pack(FORMAT, rule.number, dimension)


def unpack_layout(rule: Rule, layout: bytes | None, dimension: bytes | None) -> int | None:
    """Return how many coefficients a table's entities have; ``None`` for a new table.

    Parameters
    ----------
    rule
        The rule that is to go on with it.
    layout, dimension
        The records under ``LAYOUT`` and, of format 1, ``DIMENSION``.

    Raises
    ------
    StateFormatError
        The table is of a newer format.
    RuleMismatchError
        It was learned by another rule.
    """
    if layout is None:
        if dimension is None:
            return None
        _check_rule(RuleNumber.ADAPTIVE_SGD, rule.number)
        return int.from_bytes(dimension, "big")
    if layout[0] not in (_FORMAT_2, _FORMAT_3, FORMAT):
        raise StateFormatError(f"the table is of format {layout[0]}, and {FORMAT} is read")
    _, number, coefficients = _LAYOUT.unpack(layout)
    _check_rule(number, rule.number)
    return int(coefficients)


def unpack_many(kind: RecordType, records: Sequence[bytes | None]) -> Records:
    """Return the records as an array of ``kind``, shape ``(n,)``; a missing one is new: zeros, and value -1.

    Raises
    ------
    StateFormatError
        A record was written in a newer format or for another number of features.
    RuleMismatchError
        A record was written by another rule.
    """
    size, header, new = kind.dtype.itemsize, kind.header, kind.new
    padded = [new if record is None else record.ljust(size, b"\0") for record in records]
    if not all(record.startswith(header) for record in padded):
        padded = [new if record is None else _in_this_format(kind, record) for record in records]
    joined = b"".join(padded)
    if len(joined) != size * len(padded):
        raise _other_format(kind)
    return np.frombuffer(joined, kind.dtype).copy()


def _in_this_format(kind: RecordType, record: bytes) -> bytes:
    """Return a record at its full length, in the present format."""
    migrated = _migrated(kind, record) if record[:1] in _BEFORE else record
    padded = migrated.ljust(kind.dtype.itemsize, b"\0")
    if padded.startswith(kind.header):
        return padded
    if padded[0] == FORMAT:
        _check_rule(padded[1], kind.rule)
    raise _other_format(kind)


def _migrated(kind: RecordType, record: bytes) -> bytes:
    """Return a record of an older format in the present one: nothing of format 1 has faded yet."""
    if record[0] != _FORMAT_1:
        return bytes([FORMAT]) + record[1:]
    _check_rule(RuleNumber.ADAPTIVE_SGD, kind.rule)
    if len(record) > kind.before.itemsize:
        raise _other_format(kind)
    before = np.frombuffer(record.ljust(kind.before.itemsize, b"\0"), kind.before)
    array = np.zeros(1, kind.dtype)
    for name in kind.before.names or ():
        array[name] = before[name]
    array["format"] = FORMAT
    array["rule"] = kind.rule
    return array.tobytes()


def _check_rule(found: int, wanted: RuleNumber) -> None:
    if found != wanted:
        known = str(RuleNumber(found)) if found in list(RuleNumber) else f"rule {found}, which is not known here"
        raise RuleMismatchError(f"the coefficients were learned by {known}, and STREAM_QA_LEARNING_RULE is {wanted}")


def _other_format(kind: RecordType) -> StateFormatError:
    return StateFormatError(f"a record is not of format {FORMAT} with {kind.dimension} coefficients")


def pack_many(array: Records) -> list[bytes]:
    """Return one record for each element of ``array``; zeros at the end are left out, reading puts them back."""
    size = array.dtype.itemsize
    packed = array.tobytes()
    return [packed[start : start + size].rstrip(b"\0") for start in range(0, len(packed), size)]
