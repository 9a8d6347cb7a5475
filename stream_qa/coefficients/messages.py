"""What is on the coefficient topics: bytes to changes, and what an entity's key is there."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast, get_args

import msgspec
import numpy as np

from stream_qa.errors import InvalidEventError
from stream_qa.events import EntityKind, wire
from stream_qa.learning.arrays import Floats

F = TypeVar("F")

_KINDS = get_args(EntityKind)
_read_delta = msgspec.json.Decoder(wire.Delta).decode
_read_snapshot = msgspec.json.Decoder(wire.Snapshot).decode
_NUMBER = np.dtype("<f8")


class Tombstone(NamedTuple):
    """The end of an entity: what was held of it is dropped."""

    entity_kind: EntityKind
    entity_id: str


class Renewal(NamedTuple):
    """A snapshot that may be read after its entity's end: it counts only where something of the entity is held."""

    snapshot: wire.Snapshot

    @property
    def entity_kind(self) -> EntityKind:
        """That of the snapshot."""
        return self.snapshot.entity_kind

    @property
    def entity_id(self) -> str:
        """That of the snapshot."""
        return self.snapshot.entity_id


Change = wire.Delta | wire.Snapshot | Renewal | Tombstone


def entity_key(kind: EntityKind, entity_id: str) -> bytes:
    """Return an entity's key on the coefficient topics."""
    return f"{kind}:{entity_id}".encode()


def key_of(change: Change) -> bytes:
    """Return the key of the entity that changes."""
    return entity_key(change.entity_kind, change.entity_id)


def entity_of(key: bytes | None) -> tuple[EntityKind, str]:
    """Return kind and id of an entity by its key.

    Raises
    ------
    InvalidEventError
        It is no entity's key.
    """
    try:
        kind, _, entity_id = (key or b"").decode().partition(":")
    except UnicodeDecodeError:
        kind = entity_id = ""
    if kind not in _KINDS or not entity_id:
        raise InvalidEventError("the key is no entity's")
    return cast("EntityKind", kind), entity_id


def read_delta(key: bytes | None, value: bytes | None) -> wire.Delta | Tombstone:
    """Return what a record of the deltas' topic says.

    Raises
    ------
    InvalidEventError
        It is neither a delta nor a tombstone.
    """
    if value is None:
        return Tombstone(*entity_of(key))
    delta = _read(_read_delta, value)
    vector(delta.change)
    return delta


def read_snapshot(key: bytes | None, value: bytes | None) -> wire.Snapshot | Tombstone:
    """Return what a record of the snapshots' topic says.

    Raises
    ------
    InvalidEventError
        It is neither a snapshot nor a tombstone.
    """
    if value is None:
        return Tombstone(*entity_of(key))
    snapshot = _read(_read_snapshot, value)
    vector(snapshot.coefficients)
    return snapshot


def vector(packed: bytes) -> Floats:
    """Return the numbers of a packed vector, shape ``(d,)``, read only.

    Raises
    ------
    InvalidEventError
        They are no float64 numbers, or not all are finite.
    """
    if len(packed) % _NUMBER.itemsize:
        raise InvalidEventError(f"a vector of {len(packed)} bytes is of no float64 numbers")
    numbers: Floats = np.frombuffer(packed, _NUMBER)
    if not np.isfinite(numbers).all():
        raise InvalidEventError("a vector is not finite")
    return numbers


def _read(read: Callable[[bytes], F], value: bytes) -> F:
    try:
        return read(value)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidEventError(str(error)) from None
