"""Changes of coefficients for tests: a test names only what it is about."""

import numpy as np

from stream_qa.coefficients import Tombstone
from stream_qa.events import EntityKind, wire

ENTITY = "entity-1"


def packed(numbers: list[float]) -> bytes:
    """Return a vector as messages carry it."""
    return np.array(numbers, "<f8").tobytes()


def delta(
    base_version: int,
    version: int,
    change: list[float],
    *,
    entity_id: str = ENTITY,
    kind: EntityKind = "member",
    newest_at: int | None = None,
    model_version: str = "model-1",
) -> wire.Delta:
    """Return a delta whose labels, and whose event time unless it is said, follow from its version."""
    moment = 1_000 + version if newest_at is None else newest_at
    return wire.Delta(kind, entity_id, base_version, version, packed(change), model_version, version, moment)


def snapshot(
    version: int,
    coefficients: list[float],
    *,
    entity_id: str = ENTITY,
    kind: EntityKind = "member",
    newest_at: int | None = None,
    model_version: str = "model-1",
) -> wire.Snapshot:
    """Return a snapshot whose labels, and whose event time unless it is said, follow from its version."""
    moment = 1_000 + version if newest_at is None else newest_at
    return wire.Snapshot(kind, entity_id, version, packed(coefficients), model_version, version, moment)


def tombstone(entity_id: str = ENTITY, kind: EntityKind = "member") -> Tombstone:
    """Return the end of an entity."""
    return Tombstone(kind, entity_id)
