"""From what a learner knows to what servers get: one delta an entity and chunk, and now and then a full snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_qa.coefficients.messages import entity_key
from stream_qa.errors import StateError
from stream_qa.events import Message, wire
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
        messages = []
        for entity_id, base_version, version, labels, newest_at, change, coefficients in zip(
            entity_ids,
            before["version"].tolist(),
            after["version"].tolist(),
            after["labels"].tolist(),
            after["newest_at"].tolist(),
            (published - base).astype("<f8"),
            published.astype("<f8"),
            strict=True,
        ):
            key = entity_key(self.effect.kind, entity_id)
            delta = wire.Delta(
                self.effect.kind,
                entity_id,
                base_version,
                version,
                change.tobytes(),
                self.model_version,
                labels,
                newest_at,
            )
            messages.append(Message(self.deltas, key, wire.encode(delta)))
            if version // self.snapshot_every > base_version // self.snapshot_every:
                snapshot = wire.Snapshot(
                    self.effect.kind,
                    entity_id,
                    version,
                    coefficients.tobytes(),
                    self.model_version,
                    labels,
                    newest_at,
                )
                messages.append(Message(self.snapshots, key, wire.encode(snapshot)))
        return messages
