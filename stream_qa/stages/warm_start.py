"""Entities that a bundle's training knew start from what it says of them, before any label of theirs.

All of a model's entities start, by definition, when the model is taken up. Really they do so some at a time, and one
that a label touches before its turn then: either way it starts from the same, and is published where it may be.
"""

from typing import NamedTuple

import msgspec

from stream_qa.labels.event_time import NOT_BEGUN
from stream_qa.learning import RandomEffect
from stream_qa.learning.entity import Records, entity_key, entity_type, unpack_many
from stream_qa.learning.whitening import Whitenings
from stream_qa.stages.share import ALL, Share
from stream_qa.stages.state import StateReader

AT_A_TIME = 2_000

#: The key of the table's record of how far this has come.
STARTED = b"started"


class Started(NamedTuple):
    """``n`` entities that start."""

    entity_ids: list[str]
    before: Records
    """New ones, shape ``(n,)``."""
    after: Records
    """From what they start, shape ``(n,)``."""
    record: bytes
    """What then is under ``STARTED``."""
    are_left: bool
    """Whether others have not had their turn."""


def start_some(
    effect: RandomEffect,
    whitenings: Whitenings,
    state: StateReader,
    *,
    share: Share = ALL,
    most: int | None = AT_A_TIME,
    since: int = NOT_BEGUN,
) -> Started | None:
    """Return which of a model's next ``most`` entities start, as they are not known yet; ``None`` after the last.

    Parameters
    ----------
    effect
        That of the newest model.
    whitenings
        Those of the table.
    state
        The table, what the chunk has changed included.
    share
        The table's partition: entities of others do not start here.
    most
        How many; ``None`` for all that are left.
    since
        Entities without a label from this moment (ms) on do not start.
    """
    if effect.start is None:
        return None
    number, place = _place(state)
    if number != whitenings.newest.model_number:
        place = 0
    ids, until = effect.start.ids, len(effect.start.ids) if most is None else place + most
    if place >= len(ids):
        return None
    mine = [entity_id for entity_id in ids[place:until] if share.has(entity_id)]
    stored = state.get_many([entity_key(entity_id) for entity_id in mine])
    new = [entity_id for entity_id, record in zip(mine, stored, strict=True) if record is None]
    before = unpack_many(entity_type(effect.rule, len(whitenings.newest.scale)), [None] * len(new))
    after = before.copy()
    effect.start.start(after, new, effect.rule, whitenings.newest, since)
    has_started = after["version"] > 0
    return Started(
        [entity_id for entity_id, starts in zip(new, has_started.tolist(), strict=True) if starts],
        before[has_started],
        after[has_started],
        _encode((whitenings.newest.model_number, min(until, len(ids)))),
        until < len(ids),
    )


def _place(state: StateReader) -> tuple[int, int]:
    [record] = state.get_many([STARTED])
    return (-1, 0) if record is None else _decode(record)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[int, int]).decode
