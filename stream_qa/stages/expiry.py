"""Entities of which nothing was heard for long lose what they learned, and servers are told.

Whether an entity is over when a label touches it follows from the log: from the day of event time that the slowest
origin had reached by then. Those that no label touches any more are found by sweeps over the table, some at a time.
When a sweep comes by decides when space is given back, and nothing else.
"""

from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np

from stream_qa.durations import DAY
from stream_qa.labels.event_time import NOT_BEGUN
from stream_qa.learning.arrays import Booleans
from stream_qa.learning.entity import Records, RecordType, entity_range, unpack_many
from stream_qa.stages.state import Changes, StateReader

#: Entities that a sweep looks at in one chunk.
AT_A_TIME = 2_000
#: How many there are while an entity is idle.
_SWEEPS_AN_IDLE_TIME = 16
#: The key of the table's record of its sweeps.
SWEEP = b"sweep"


class Swept(NamedTuple):
    """What a sweep has found in one chunk."""

    keys: list[bytes]
    """Of the entities that are over."""
    record: bytes
    """What then is under ``SWEEP``."""
    is_on: bool
    """Whether entities are left to look at."""


@dataclass(frozen=True)
class Expiry:
    """When entities are over.

    Parameters
    ----------
    idle
        Milliseconds of event time without a label; 0 for never. Not below the time from the earliest answer that counts
        for an application to the last revision of its label: so what an entity learns is never over at once, and
        nothing of an entity that is over can be taken back any more.
    """

    idle: int = 0

    def since(self, today: int) -> int:
        """Return the event time (ms) from which on an entity must have had a label, so as not to be over."""
        return today - self.idle + 1 if self.idle and today > NOT_BEGUN else NOT_BEGUN

    def over(self, entities: Records, today: int) -> Booleans:
        """Return which of ``entities``, shape ``(n,)``, are over on a day (ms)."""
        return np.asarray((entities["version"] > 0) & (entities["newest_at"] < self.since(today)))

    def sweep(self, kind: RecordType, state: StateReader, changes: Changes, today: int) -> Swept | None:
        """Return which of the next entities are over; ``None`` where no sweep is due.

        Parameters
        ----------
        kind
            How the entities' records are laid out.
        state
            The table before the chunk.
        changes
            What the chunk has changed.
        today
            The day of event time (ms).
        """
        if not self.idle or today == NOT_BEGUN:
            return None
        [record] = state.get_many([SWEEP])
        start, end = entity_range()
        sweep, cursor = (NOT_BEGUN, b"") if record is None else _decode(record)
        if not cursor:
            period = max(DAY, self.idle // _SWEEPS_AN_IDLE_TIME)
            # By its own moment, not by that of the chunk: what it finds does not depend on when it comes by.
            due = today - today % period
            if due <= sweep:
                return None
            sweep, cursor = due, start
        found = list(islice(state.scan(cursor, end), AT_A_TIME))
        until = found[-1][0] + b"\0" if len(found) == AT_A_TIME else end
        now = {**dict(found), **{key: stored for key, stored in changes.items() if cursor <= key < until}}
        keys = [key for key, stored in now.items() if stored is not None]
        entities = unpack_many(kind, [now[key] for key in keys])
        over = np.flatnonzero(self.over(entities, sweep)).tolist()
        cursor = b"" if until == end else until
        return Swept([keys[place] for place in over], _encode((sweep, cursor)), bool(cursor))


NEVER = Expiry()

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, bytes]).decode
