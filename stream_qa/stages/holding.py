"""Entities that have moved and were not published: who they are, and how servers hear of them again.

Servers hold what was published of them last, so what comes next is no difference to that but the whole vector: a delta
from version 0, which stands in the topic of deltas in order with the others, and a snapshot. An entity whose own part
does harm is taken from servers by a tombstone: without it they score better.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from stream_qa.coefficients import Publisher
from stream_qa.learning import RandomEffect
from stream_qa.learning.arrays import Booleans, Integers
from stream_qa.learning.entity import Records, entity_key, entity_type, pack_many, unpack_many
from stream_qa.learning.entity_guard import EntityPolicy, is_flooded, is_harmful
from stream_qa.learning.guard import GUARD, Standing
from stream_qa.learning.whitening import Whitenings
from stream_qa.stages.state import Outcome, StateReader

#: Entities that are published again in one chunk.
AT_A_TIME = 2_000

_HELD = b"held/"
_HELD_END = b"held0"
_MARK = b"\x01"


def held_key(entity_id: str) -> bytes:
    """Return the key that is there where an entity has moved while its side was not published."""
    return _HELD + entity_id.encode()


def is_held_key(key: bytes) -> bool:
    """Return whether a key is one of those."""
    return key.startswith(_HELD)


class Published(NamedTuple):
    """What became of moved entities."""

    rows: Integers
    """Those of which there is a delta."""
    held_back: list[tuple[str, str]]
    """Who is newly held back, each with why; ``released`` where one is no more."""


@dataclass(frozen=True)
class Holding:
    """Publishes what may be published.

    Parameters
    ----------
    publisher
        Tells servers.
    policy
        When one entity is held back; ``None`` for never.
    """

    publisher: Publisher
    policy: EntityPolicy | None = None

    def held(self, entities: Records, whitenings: Whitenings) -> dict[str, Booleans]:
        """Return which of ``entities``, shape ``(n,)``, are held back, by why."""
        nobody = np.zeros(len(entities), np.bool_)
        if self.policy is None:
            return {"harm": nobody, "flood": nobody, "bound": nobody}
        largest = np.abs(entities["coefficients"] * whitenings.scales(entities["model"])).max(axis=1)
        return {
            "harm": is_harmful(entities),
            "flood": is_flooded(entities),
            "bound": largest > self.policy.bound if self.policy.bound else nobody,
        }

    def publish_shown(
        self,
        entity_ids: Sequence[str],
        before: Records,
        after: Records,
        shown: Booleans,
        *,
        whitenings: Whitenings,
        state: StateReader,
        outcome: Outcome,
        standing: Standing,
    ) -> Published:
        """Publish those of moved entities, shapes ``(n,)``, that may be, and remember the others.

        Parameters
        ----------
        entity_ids, before, after
            Who has moved, from where, to where. That one is held back is noted in ``after``, in place: what the policy
            is may change before it moves again.
        shown
            Of which the side is published.
        whitenings
            Those of the table.
        state
            The table before.
        outcome
            Gets the changes and messages.
        standing
            Counts those that have moved while their side was not published, in place.
        """
        everybody = np.arange(len(entity_ids))
        if not entity_ids:
            return Published(everybody, [])
        marked = np.zeros(len(entity_ids), np.bool_)
        if standing.held:
            marked[:] = [mark is not None for mark in state.get_many([held_key(entity_id) for entity_id in entity_ids])]
        was, now = self.held(before, whitenings), self.held(after, whitenings)
        was_held, now_held, withheld = _any(was), _any(now), before["withheld"] > 0
        # Records of before it was noted say it by their accounts alone.
        not_known = marked | withheld | was_held
        if shown.all() and not (not_known | now_held).any():
            outcome.messages.extend(self.publisher.publish(entity_ids, before, after, whitenings))
            return Published(everybody, [])
        after["withheld"] = now_held
        known = before.copy()
        known[not_known] = np.zeros(1, before.dtype)
        rows = np.flatnonzero(shown & ~now_held)
        outcome.messages.extend(
            self.publisher.publish([entity_ids[row] for row in rows.tolist()], known[rows], after[rows], whitenings)
        )
        # One that is held back for another reason already is served as it was before that.
        withdrawn = np.flatnonzero(shown & now["harm"] & (marked | ~withheld) & (before["version"] > 0))
        outcome.messages.extend(self.publisher.drop([entity_ids[row] for row in withdrawn.tolist()]))
        released, added = np.flatnonzero(shown & marked), np.flatnonzero(~shown & ~marked)
        outcome.changes.update(dict.fromkeys(held_key(entity_ids[row]) for row in released.tolist()))
        outcome.changes.update((held_key(entity_ids[row]), _MARK) for row in added.tolist())
        standing.held += len(added) - len(released)
        changed = {why: now[why] & ~(was[why] & withheld) for why in now}
        changed["released"] = (withheld | was_held) & ~now_held
        held_back = [(entity_ids[row], why) for why in changed for row in np.flatnonzero(changed[why]).tolist()]
        return Published(rows, held_back)

    def release_some(
        self,
        effect: RandomEffect,
        whitenings: Whitenings,
        state: StateReader,
        outcome: Outcome,
        *,
        standing: Standing,
    ) -> bool:
        """Publish the next entities that have moved while their side was not published; return whether some are left.

        Parameters
        ----------
        effect
            Of the entities.
        whitenings
            Those of the table.
        state
            The table before the chunk.
        outcome
            What the chunk has changed; gets the changes and messages.
        standing
            That after the chunk: how many there are.
        """
        if not standing.held:
            return False
        marked: dict[bytes, bytes | None] = dict(islice(state.scan(_HELD, _HELD_END), AT_A_TIME))
        marked |= {key: mark for key, mark in outcome.changes.items() if is_held_key(key)}
        keys = [key for key, mark in marked.items() if mark is not None]
        ids = [key.removeprefix(_HELD).decode() for key in keys]
        entity_keys = [entity_key(entity_id) for entity_id in ids]
        stored = [
            outcome.changes.get(key, record)
            for key, record in zip(entity_keys, state.get_many(entity_keys), strict=True)
        ]
        entities = unpack_many(entity_type(effect.rule, len(whitenings.newest.scale)), stored)
        # Of one that is over meanwhile servers know that.
        is_there, held = entities["version"] > 0, self.held(entities, whitenings)
        now_held = _any(held)
        rows, withdrawn = np.flatnonzero(is_there & ~now_held), np.flatnonzero(is_there & held["harm"])
        nothing = np.zeros(len(rows), entities.dtype)
        outcome.messages.extend(
            self.publisher.publish([ids[row] for row in rows.tolist()], nothing, entities[rows], whitenings)
        )
        outcome.messages.extend(self.publisher.drop([ids[row] for row in withdrawn.tolist()]))
        outcome.changes.update(dict.fromkeys(keys))
        # Another policy than that of the last move may say something else.
        differs = np.flatnonzero(is_there & (entities["withheld"] != now_held))
        entities["withheld"] = now_held
        noted = [entity_keys[row] for row in differs.tolist()]
        outcome.changes.update(zip(noted, pack_many(entities[differs]), strict=True))
        standing.held -= len(keys)
        outcome.changes[GUARD] = standing.pack()
        return standing.held > 0


def told(held_back: Sequence[tuple[str, str]]) -> list[str]:
    """Return how many are newly held back one by one, and how many no more; nothing where that is nobody."""
    counts = Counter(why for _, why in held_back)
    return [f"held back one by one: {', '.join(f'{why} {count}' for why, count in counts.items())}"] if counts else []


def _any(held: dict[str, Booleans]) -> Booleans:
    return np.asarray(np.logical_or.reduce(list(held.values())))
