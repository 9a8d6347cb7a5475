"""What a server holds: the newest coefficients of every entity, by the protocol of deltas and snapshots."""

from typing import NamedTuple

import numpy as np

from stream_qa.events import Delta, EntityKind, Snapshot
from stream_qa.learning.arrays import Floats


class Coefficients(NamedTuple):
    """One entity's coefficients at a version."""

    version: int
    vector: Floats
    """Shape ``(d,)``: the intercept first, to be multiplied with raw features."""
    labels: int
    newest_at: int


class CoefficientStore:
    """Follows the coefficient topics.

    A delta at or below the held version is skipped, one on top of it is applied, and where one is missing the old
    vector is served until the next snapshot.
    """

    def __init__(self) -> None:
        self._entities: dict[tuple[EntityKind, str], Coefficients] = {}
        self.gaps = 0
        """Deltas that could not be applied because one before them was missing."""

    def __len__(self) -> int:
        return len(self._entities)

    def get(self, kind: EntityKind, entity_id: str) -> Coefficients | None:
        """Return an entity's coefficients; ``None`` for one that has not learned yet: the global model decides."""
        return self._entities.get((kind, entity_id))

    def apply(self, delta: Delta) -> bool:
        """Apply a delta; return whether the held version moved."""
        key = (delta.entity_kind, delta.entity_id)
        held = self._entities.get(key)
        version = 0 if held is None else held.version
        if delta.version <= version:
            return False
        if delta.base_version != version:
            self.gaps += 1
            return False
        change = np.asarray(delta.change)
        vector = change if held is None else held.vector + change
        self._entities[key] = Coefficients(delta.version, vector, delta.labels, delta.newest_at)
        return True

    def restore(self, snapshot: Snapshot) -> bool:
        """Take in a snapshot; return whether the held version moved."""
        key = (snapshot.entity_kind, snapshot.entity_id)
        held = self._entities.get(key)
        if held is not None and snapshot.version <= held.version:
            return False
        vector = np.asarray(snapshot.coefficients)
        self._entities[key] = Coefficients(snapshot.version, vector, snapshot.labels, snapshot.newest_at)
        return True
