"""Entities that a bundle's training knew start from what it says of them, before any label of theirs.

All of a model's entities start, by definition, when the model is taken up. Really they do so some at a time, and one
that a label touches before its turn then: either way it starts from the same, and is published where it may be.
"""

import msgspec
import numpy as np

from stream_qa.labels.event_time import NOT_BEGUN
from stream_qa.learning import RandomEffect
from stream_qa.learning.entity import entity_key, entity_type, pack_many, unpack_many
from stream_qa.learning.guard import Standing
from stream_qa.learning.whitening import Whitenings
from stream_qa.stages.holding import Holding
from stream_qa.stages.share import ALL, Share
from stream_qa.stages.state import Outcome, StateReader

AT_A_TIME = 2_000

_STARTED = b"started"


def start_some(
    effect: RandomEffect,
    holding: Holding,
    whitenings: Whitenings,
    state: StateReader,
    outcome: Outcome,
    *,
    standing: Standing,
    shown: bool,
    held_back: list[tuple[str, str]],
    share: Share = ALL,
    most: int | None = AT_A_TIME,
    since: int = NOT_BEGUN,
) -> bool:
    """Let the next ``most`` entities of a model's start that are not known yet; return whether some are left.

    Parameters
    ----------
    effect
        That of the newest model.
    holding
        Tells servers.
    whitenings
        Those of the table.
    state
        The table, what ``outcome`` changes included.
    outcome
        Gets the changes and messages.
    standing
        Counts those that were not published because their side is not, in place.
    shown
        Whether their side is.
    held_back
        Gets who is held back alone, each with why.
    share
        The table's partition: entities of others do not start here.
    most
        How many; ``None`` for all that are left.
    since
        Entities without a label from this moment (ms) on do not start.
    """
    if effect.start is None:
        return False
    number, place = _place(state)
    if number != whitenings.newest.model_number:
        place = 0
    ids, until = effect.start.ids, len(effect.start.ids) if most is None else place + most
    if place >= len(ids):
        return False
    mine = [entity_id for entity_id in ids[place:until] if share.has(entity_id)]
    stored = state.get_many([entity_key(entity_id) for entity_id in mine])
    new = [entity_id for entity_id, record in zip(mine, stored, strict=True) if record is None]
    before = unpack_many(entity_type(effect.rule, len(whitenings.newest.scale)), [None] * len(new))
    after = before.copy()
    effect.start.start(after, new, effect.rule, whitenings.newest, since)
    started = after["version"] > 0
    new = [entity_id for entity_id, has_started in zip(new, started.tolist(), strict=True) if has_started]
    before, after = before[started], after[started]
    published = holding.publish_shown(
        new,
        before,
        after,
        np.full(len(new), shown),
        whitenings=whitenings,
        state=state,
        outcome=outcome,
        standing=standing,
    )
    held_back += published.held_back
    outcome.changes.update(zip(map(entity_key, new), pack_many(after), strict=True))
    outcome.changes[_STARTED] = _encode((whitenings.newest.model_number, min(until, len(ids))))
    return until < len(ids)


def _place(state: StateReader) -> tuple[int, int]:
    [record] = state.get_many([_STARTED])
    return (-1, 0) if record is None else _decode(record)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[int, int]).decode
