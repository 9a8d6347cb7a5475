"""What servers are told of a chunk, and what is held back: of entities that have moved and were not published.

Servers hold what was published of them last, so what comes next is no difference to that but the whole vector: a delta
from version 0, which stands in the topic of deltas in order with the others, and a snapshot. An entity whose own part
does harm is taken from servers by a tombstone: without it they score better.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np

from stream_qa.coefficients import Publisher
from stream_qa.events import Message, wire
from stream_qa.learning.arrays import Booleans, Integers
from stream_qa.learning.entity import Records, entity_key, entity_type, pack_many, unpack_many
from stream_qa.learning.entity_guard import EntityLabels, is_flooded, is_harmful, judge_entities
from stream_qa.learning.guard import GUARD, GuardPolicy, Scored, Standing, notices, sums_of, surprise_of, worse_by
from stream_qa.learning.plan import Batch
from stream_qa.learning.rounds import Seen
from stream_qa.learning.rule import Rule
from stream_qa.learning.whitening import Whitenings
from stream_qa.stages.overlay import read_over
from stream_qa.stages.state import StateReader

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


def held_by_reason(guard: GuardPolicy | None, entities: Records, whitenings: Whitenings) -> dict[str, Booleans]:
    """Return which of ``entities``, shape ``(n,)``, are held back one by one, by why."""
    nobody = np.zeros(len(entities), np.bool_)
    if guard is None:
        return {"harm": nobody, "flood": nobody, "bound": nobody}
    largest = np.abs(entities["coefficients"] * whitenings.scales(entities["model"])).max(axis=1)
    bound = guard.entities.bound
    return {
        "harm": is_harmful(entities),
        "flood": is_flooded(entities),
        "bound": largest > bound if bound else nobody,
    }


def for_any_reason(held: dict[str, Booleans]) -> Booleans:
    """Return which entities are held back at all, of what :func:`held_by_reason` says."""
    return np.asarray(np.logical_or.reduce(list(held.values())))


class GuardedPublishing:
    """Judges what is learned in one chunk, and publishes what may be published.

    Parameters
    ----------
    publisher
        What servers get.
    guard
        When publishing stops; ``None`` for never.
    standing
        The table's record under ``GUARD``.
    state
        The learner's table before the chunk.
    changes
        What the chunk has changed there; takes in what changes here.

    Raises
    ------
    StateFormatError
        The record was written by newer code.
    """

    def __init__(
        self,
        publisher: Publisher,
        guard: GuardPolicy | None,
        standing: bytes | None,
        state: StateReader,
        changes: dict[bytes, bytes | None],
    ) -> None:
        self.messages: list[Message] = []
        self.held_back: list[tuple[str, str]] = []
        """Who is newly held back, each with why; ``released`` where one is no more."""
        self.standing = Standing.unpack(standing)
        """How good it is what the side has learned by now."""
        self._standing_before = Standing.unpack(standing)
        self._publisher = publisher
        self._guard = guard
        self._state = state
        self._changes = changes

    @property
    def shows(self) -> bool:
        """Whether the side is published."""
        return self._guard is None or not self.standing.reasons

    @property
    def notices(self) -> list[str]:
        """What somebody should know."""
        return [*notices(self._standing_before, self.standing), *_told(self.held_back)]

    def judge(
        self,
        labels: Sequence[wire.Label | wire.Example],
        batch: Batch,
        seen: Seen,
        *,
        entities: Records,
        newest_at: Integers,
    ) -> Booleans:
        """Judge what is learned by labels; return which of ``entities``, shape ``(m,)``, the side's standing lets show.

        An entity is shown where publishing was on after its last label: how labels are cut into chunks changes nothing.

        Parameters
        ----------
        labels, batch, seen
            ``n`` labels, in log order, and what each of them met.
        entities
            After the labels. Their accounts are brought up to date, in place.
        newest_at
            The event time (ms) of their newest labels before, shape ``(m,)``.
        """
        shown = np.full(len(entities), self.shows)
        if self._guard is None:
            return shown
        (rows,) = seen.learned.nonzero()
        alone = np.array([labels[row].global_log_odds for row in rows.tolist()], np.float64)
        scored = Scored(
            value=batch.value[rows].astype(np.float64),
            weight=batch.weight[rows],
            said_value=seen.said[rows].astype(np.float64),
            said_weight=seen.said_weight[rows],
            alone=alone,
            other=batch.offset[rows] - alone,
            own=seen.log_odds[rows],
        )
        sums = sums_of(scored)
        held = judge_entities(
            self._guard.entities,
            entities,
            newest_at,
            EntityLabels(batch.entity[rows], worse_by(sums), surprise_of(scored), batch.happened_at[rows]),
        )
        # One that is held back already is not held against its side.
        sums[held] = 0
        # Of several rows of an entity the last one decides.
        shown[batch.entity[rows]] = self.standing.judge(self._guard, sums)
        return shown

    def publish_shown(
        self, entity_ids: Sequence[str], before: Records, after: Records, shown: Booleans, whitenings: Whitenings
    ) -> Integers:
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

        Returns
        -------
        Integers
            The rows of those of which there is a delta.
        """
        everybody = np.arange(len(entity_ids))
        if not entity_ids:
            return everybody
        marked = np.zeros(len(entity_ids), np.bool_)
        if self.standing.held:
            marked[:] = [mark is not None for mark in self._read([held_key(entity_id) for entity_id in entity_ids])]
        was, now = (held_by_reason(self._guard, entities, whitenings) for entities in (before, after))
        was_held, now_held, withheld = for_any_reason(was), for_any_reason(now), before["withheld"] > 0
        # Records of before it was noted say it by their accounts alone.
        not_known = marked | withheld | was_held
        if shown.all() and not (not_known | now_held).any():
            self.messages += self._publisher.publish(entity_ids, before, after, whitenings)
            return everybody
        after["withheld"] = now_held
        known = before.copy()
        known[not_known] = np.zeros(1, before.dtype)
        rows = np.flatnonzero(shown & ~now_held)
        served = [entity_ids[row] for row in rows.tolist()]
        self.messages += self._publisher.publish(served, known[rows], after[rows], whitenings)
        # One that is held back for another reason already is served as it was before that.
        withdrawn = np.flatnonzero(shown & now["harm"] & (marked | ~withheld) & (before["version"] > 0))
        self.withdraw([entity_ids[row] for row in withdrawn.tolist()])
        released, added = np.flatnonzero(shown & marked), np.flatnonzero(~shown & ~marked)
        self._changes.update(dict.fromkeys(held_key(entity_ids[row]) for row in released.tolist()))
        self._changes.update((held_key(entity_ids[row]), _MARK) for row in added.tolist())
        self.standing.held += len(added) - len(released)
        changed = {why: now[why] & ~(was[why] & withheld) for why in now}
        changed["released"] = (withheld | was_held) & ~now_held
        self.held_back += [(entity_ids[row], why) for why in changed for row in np.flatnonzero(changed[why]).tolist()]
        return rows

    def withdraw(self, entity_ids: Sequence[str]) -> None:
        """Tell servers to hold nothing of entities any more."""
        self.messages += self._publisher.drop(entity_ids)

    def save(self) -> None:
        """Turn what has become of the side's standing into a change of the table."""
        if self.standing != self._standing_before:
            self._changes[GUARD] = self.standing.pack()

    def release_some(self, rule: Rule, whitenings: Whitenings) -> bool:
        """Publish the next entities that have moved while their side was not; return whether some are left.

        Nobody, where it still is not. What has become of the standing is saved.

        Parameters
        ----------
        rule
            How the entities learn.
        whitenings
            Those of the table.
        """
        if not self.standing.held or not self.shows:
            return False
        marked: dict[bytes, bytes | None] = dict(islice(self._state.scan(_HELD, _HELD_END), AT_A_TIME))
        marked |= {key: mark for key, mark in self._changes.items() if is_held_key(key)}
        keys = [key for key, mark in marked.items() if mark is not None]
        ids = [key.removeprefix(_HELD).decode() for key in keys]
        entity_keys = [entity_key(entity_id) for entity_id in ids]
        entities = unpack_many(entity_type(rule, len(whitenings.newest.scale)), self._read(entity_keys))
        # Of one that is over meanwhile servers know that.
        is_there, held = entities["version"] > 0, held_by_reason(self._guard, entities, whitenings)
        now_held = for_any_reason(held)
        rows, withdrawn = np.flatnonzero(is_there & ~now_held), np.flatnonzero(is_there & held["harm"])
        nothing = np.zeros(len(rows), entities.dtype)
        self.messages += self._publisher.publish(
            [ids[row] for row in rows.tolist()], nothing, entities[rows], whitenings
        )
        self.withdraw([ids[row] for row in withdrawn.tolist()])
        self._changes.update(dict.fromkeys(keys))
        # Another policy than that of the last move may say something else.
        differs = np.flatnonzero(is_there & (entities["withheld"] != now_held))
        entities["withheld"] = now_held
        noted = [entity_keys[row] for row in differs.tolist()]
        self._changes.update(zip(noted, pack_many(entities[differs]), strict=True))
        self.standing.held -= len(keys)
        self._changes[GUARD] = self.standing.pack()
        return self.standing.held > 0

    def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what is under keys by now."""
        return read_over(self._state, self._changes, keys)


def _told(held_back: Sequence[tuple[str, str]]) -> list[str]:
    """Return how many are newly held back one by one, and how many no more; nothing where that is nobody."""
    counts = Counter(why for _, why in held_back)
    return [f"held back one by one: {', '.join(f'{why} {count}' for why, count in counts.items())}"] if counts else []
