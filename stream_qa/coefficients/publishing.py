"""From what a learner knows to what servers get: one delta an entity and chunk, and now and then a full snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from stream_qa.errors import StateError
from stream_qa.events import EntityKind, Message
from stream_qa.learning import RandomEffect
from stream_qa.learning.entity import Records


@dataclass(frozen=True)
class Publisher:
    """Turns changed entities into messages.

    Parameters
    ----------
    effect
        The random effect whose entities these are.
    deltas, snapshots
        The topics.
    model_version
        The model bundle that the coefficients belong to.
    snapshot_every
        Versions between two snapshots of an entity.
    """

    effect: RandomEffect
    deltas: str
    snapshots: str
    model_version: str
    snapshot_every: int

    def publish(self, entity_ids: Sequence[str], before: Records, after: Records) -> list[Message]:
        """Return the messages for entities, shape ``(n,)`` each, whose version has moved from before to after.

        Raises
        ------
        StateError
            A vector is not finite; nothing of the chunk may be used.
        """
        base = self.effect.published(before["coefficients"])
        published = self.effect.published(after["coefficients"])
        if not np.isfinite(published).all():
            raise StateError(f"coefficients of a {self.effect.kind} are not finite")
        changes = published - base
        messages = []
        for row, entity_id in enumerate(entity_ids):
            entity = after[row]
            base_version, version = int(before["version"][row]), int(entity["version"])
            key = entity_key(self.effect.kind, entity_id)
            common = {
                "entity_kind": self.effect.kind,
                "entity_id": entity_id,
                "version": version,
                "model_version": self.model_version,
                "labels": int(entity["labels"]),
                "newest_at": int(entity["newest_at"]),
            }
            delta = {**common, "base_version": base_version, "change": changes[row]}
            messages.append(Message(self.deltas, key, orjson.dumps(delta, option=orjson.OPT_SERIALIZE_NUMPY)))
            if version // self.snapshot_every > base_version // self.snapshot_every:
                snapshot = {**common, "coefficients": published[row]}
                messages.append(Message(self.snapshots, key, orjson.dumps(snapshot, option=orjson.OPT_SERIALIZE_NUMPY)))
        return messages


def entity_key(kind: EntityKind, entity_id: str) -> bytes:
    """Return an entity's key on the coefficient topics."""
    return f"{kind}:{entity_id}".encode()
