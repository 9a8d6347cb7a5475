"""From what a learner knows to what servers get: one delta an entity and chunk, and now and then a full snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_qa.coefficients.messages import entity_key
from stream_qa.errors import StateError
from stream_qa.events import Message, wire
from stream_qa.learning import RandomEffect
from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.entity import Records
from stream_qa.learning.whitening import Whitenings


@dataclass(frozen=True)
class Publisher:
    """Turns changed entities into messages.

    Parameters
    ----------
    effect
        The random effect whose entities these are.
    deltas, snapshots
        The topics.
    snapshot_every
        Versions between two snapshots of an entity.
    snapshot_period
        Milliseconds of event time: the first change of an entity in each such period brings a snapshot as well.
    """

    effect: RandomEffect
    deltas: str
    snapshots: str
    snapshot_every: int
    snapshot_period: int

    def publish(
        self, entity_ids: Sequence[str], before: Records, after: Records, whitenings: Whitenings
    ) -> list[Message]:
        """Return the messages for entities, shape ``(n,)`` each, whose version has moved from before to after.

        Deltas, then snapshots: one of each that has come past a multiple of ``snapshot_every`` or of
        ``snapshot_period``, and so of each that comes from nothing.

        Raises
        ------
        StateError
            A vector is not finite; nothing of the chunk may be used.
        """
        kind = self.effect.kind
        base, published = (
            self.effect.published(records["coefficients"], whitenings.scales(records["model"]))
            for records in (before, after)
        )
        if not np.isfinite(published).all():
            raise StateError(f"coefficients of a {kind} are not finite")
        deltas = [
            wire.Delta(kind, entity_id, base_version, version, change.tobytes(), model_version, labels, newest_at)
            for entity_id, base_version, version, change, model_version, labels, newest_at in zip(
                entity_ids,
                before["version"].tolist(),
                after["version"].tolist(),
                (published - base).astype("<f8"),
                whitenings.model_versions(after["model"]),
                after["labels"].tolist(),
                after["newest_at"].tolist(),
                strict=True,
            )
        ]
        messages = [Message(self.deltas, entity_key(kind, delta.entity_id), wire.encode(delta)) for delta in deltas]
        in_full = np.flatnonzero(
            _crossed(before["version"], after["version"], self.snapshot_every)
            | _crossed(before["newest_at"], after["newest_at"], self.snapshot_period)
        )
        shown_in_full = [entity_ids[row] for row in in_full.tolist()]
        return messages + self._snapshots(shown_in_full, after[in_full], published[in_full], whitenings)

    def drop(self, entity_ids: Sequence[str]) -> list[Message]:
        """Return the messages that tell servers to hold nothing of entities any more: tombstones on both topics."""
        keys = [entity_key(self.effect.kind, entity_id) for entity_id in entity_ids]
        return [Message(topic, key, None) for key in keys for topic in (self.deltas, self.snapshots)]

    def snapshots_of(self, entity_ids: Sequence[str], entities: Records, whitenings: Whitenings) -> list[Message]:
        """Return a snapshot of each of ``entities``, shape ``(n,)``, as it was published last."""
        published = self.effect.published(entities["coefficients"], whitenings.scales(entities["model"]))
        return self._snapshots(entity_ids, entities, published, whitenings)

    def _snapshots(
        self, entity_ids: Sequence[str], entities: Records, published: Floats, whitenings: Whitenings
    ) -> list[Message]:
        """Return a snapshot of each of ``entities``, shape ``(n,)``, whose vectors are ``published``, ``(n, d)``."""
        kind = self.effect.kind
        snapshots = [
            wire.Snapshot(kind, entity_id, version, coefficients.tobytes(), model_version, labels, newest_at)
            for entity_id, version, coefficients, model_version, labels, newest_at in zip(
                entity_ids,
                entities["version"].tolist(),
                published.astype("<f8"),
                whitenings.model_versions(entities["model"]),
                entities["labels"].tolist(),
                entities["newest_at"].tolist(),
                strict=True,
            )
        ]
        return [
            Message(self.snapshots, entity_key(kind, snapshot.entity_id), wire.encode(snapshot))
            for snapshot in snapshots
        ]


def _crossed(before: Integers, after: Integers, every: int) -> Booleans:
    """Return which numbers have reached or passed a multiple of ``every``, shape ``(n,)``."""
    return np.asarray(after // every > before // every)
