"""Entities that have moved while nothing was published: who they are, and how servers hear of them again.

Servers hold what was published of them last, so what comes next is no difference to that but the whole vector: a delta
from version 0, which stands in the topic of deltas in order with the others, and a snapshot.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from stream_qa.coefficients import Publisher
from stream_qa.learning import RandomEffect
from stream_qa.learning.arrays import Booleans
from stream_qa.learning.entity import Records, entity_key, entity_type, unpack_many
from stream_qa.learning.guard import GUARD, Standing
from stream_qa.learning.whitening import Whitenings
from stream_qa.stages.state import Outcome, StateReader

#: Entities that are published again in one chunk.
AT_A_TIME = 2_000

_HELD = b"held/"
_HELD_END = b"held0"
_MARK = b"\x01"


def held_key(entity_id: str) -> bytes:
    """Return the key that is there while servers do not know how an entity has moved."""
    return _HELD + entity_id.encode()


def is_held_key(key: bytes) -> bool:
    """Return whether a key is one of those."""
    return key.startswith(_HELD)


def publish_shown(
    publisher: Publisher,
    entity_ids: Sequence[str],
    before: Records,
    after: Records,
    shown: Booleans,
    *,
    whitenings: Whitenings,
    state: StateReader,
    outcome: Outcome,
    standing: Standing,
) -> None:
    """Publish those of moved entities, shapes ``(n,)``, that are ``shown``, and remember the others.

    Parameters
    ----------
    publisher
        Tells servers.
    entity_ids, before, after
        Who has moved, from where, to where.
    shown
        Which are published.
    whitenings
        Those of the table.
    state
        The table before.
    outcome
        Gets the changes and messages.
    standing
        Counts those that are held back, in place.
    """
    held = np.zeros(len(entity_ids), np.bool_)
    if standing.held:
        held[:] = [mark is not None for mark in state.get_many([held_key(entity_id) for entity_id in entity_ids])]
    known = before.copy()
    known[held] = np.zeros(1, before.dtype)
    rows = np.flatnonzero(shown)
    outcome.messages.extend(
        publisher.publish([entity_ids[row] for row in rows.tolist()], known[rows], after[rows], whitenings)
    )
    released, added = np.flatnonzero(shown & held), np.flatnonzero(~shown & ~held)
    outcome.changes.update(dict.fromkeys(held_key(entity_ids[row]) for row in released.tolist()))
    outcome.changes.update((held_key(entity_ids[row]), _MARK) for row in added.tolist())
    standing.held += len(added) - len(released)


def release_some(
    effect: RandomEffect,
    publisher: Publisher,
    whitenings: Whitenings,
    state: StateReader,
    outcome: Outcome,
    *,
    standing: Standing,
) -> bool:
    """Publish the next entities that were held back, each in full; return whether some are left.

    Parameters
    ----------
    effect
        Of the entities.
    publisher
        Tells servers.
    whitenings
        Those of the table.
    state
        The table before the chunk.
    outcome
        What the chunk has changed; gets the changes and messages.
    standing
        That after the chunk: how many are held back.
    """
    if not standing.held:
        return False
    marked: dict[bytes, bytes | None] = dict(islice(state.scan(_HELD, _HELD_END), AT_A_TIME))
    marked |= {key: mark for key, mark in outcome.changes.items() if is_held_key(key)}
    keys = [key for key, mark in marked.items() if mark is not None]
    ids = [key.removeprefix(_HELD).decode() for key in keys]
    entity_keys = [entity_key(entity_id) for entity_id in ids]
    stored = [
        outcome.changes.get(key, record) for key, record in zip(entity_keys, state.get_many(entity_keys), strict=True)
    ]
    entities = unpack_many(entity_type(effect.rule, len(whitenings.newest.scale)), stored)
    # Of one that is over meanwhile servers know that.
    rows = np.flatnonzero(entities["version"])
    nothing = np.zeros(len(rows), entities.dtype)
    outcome.messages.extend(publisher.publish([ids[row] for row in rows.tolist()], nothing, entities[rows], whitenings))
    outcome.changes.update(dict.fromkeys(keys))
    standing.held -= len(keys)
    outcome.changes[GUARD] = standing.pack()
    return standing.held > 0
