"""Event time of one partition: how far both inputs have come, and what falls due on the way.

Everything that time does to an application happens at a fixed age, so the table has one index, of applications by the
moment they were sent. What falls due while event time moves on is, for each such age, one range of that index, in
order; a deadline itself is nowhere. Engagements that wait for their application have an index of the same kind.
"""

import struct
from enum import IntEnum

from stream_qa.labels.policy import LabelPolicy

_MOMENT = struct.Struct(">q")
_LIFE_CYCLE = b"application/"

APPLIED = b"applied/"
"""The index of applications by ``applied_at``."""
WAITING = b"waiting/"
"""The index of engagements without an application, by ``engaged_at``."""
APPLICATIONS_REACHED = b"reached/applications"
ENGAGEMENTS_REACHED = b"reached/engagements"
NOT_BEGUN = -1


class Due(IntEnum):
    """What event time brings about."""

    GIVING_UP = 0
    """An engagement has waited too long for its application."""
    CLOSING = 1
    """The window of an application ends."""
    OVER = 2
    """Nothing can change an application's label any more."""
    FORGETTING = 3
    """The application's id may be used again."""


def ages(policy: LabelPolicy) -> dict[bytes, list[tuple[Due, int]]]:
    """Return, for each index, what falls due at which age (ms), the youngest first."""
    return {
        WAITING: [(Due.GIVING_UP, policy.orphan_wait)],
        APPLIED: [
            (Due.CLOSING, policy.window),
            (Due.OVER, policy.retention),
            (Due.FORGETTING, policy.retention + policy.memory),
        ],
    }


def life_cycle_key(application_id: str) -> bytes:
    """Return the key of an application's life cycle."""
    return _LIFE_CYCLE + application_id.encode()


def index_key(index: bytes, moment: int, application_id: str) -> bytes:
    """Return the key of an application in an index, under a moment of event time (ms)."""
    return index + _MOMENT.pack(moment) + application_id.encode()


def index_entry(index: bytes, key: bytes) -> tuple[int, str]:
    """Return the moment (ms) and the application id of an index's key."""
    moment = len(index) + _MOMENT.size
    return _MOMENT.unpack(key[len(index) : moment])[0], key[moment:].decode()


def index_range(index: bytes, after: int, until: int) -> tuple[bytes, bytes]:
    """Return the half-open key range of an index's entries with ``after < moment <= until`` (ms).

    Event time begins at 0: a moment before it stands for that.
    """
    return index + _MOMENT.pack(max(after + 1, 0)), index + _MOMENT.pack(max(until + 1, 0))


def pack_moment(moment: int) -> bytes:
    """Return the table's record of an event time (ms)."""
    return _MOMENT.pack(moment)


def unpack_moment(record: bytes | None) -> int:
    """Return what :func:`pack_moment` packed; ``NOT_BEGUN`` where there is none."""
    return NOT_BEGUN if record is None else _MOMENT.unpack(record)[0]


def watermark(applications_reached: int, engagements_reached: int) -> int:
    """Return the partition's event time (ms): the smaller of what both inputs have reached.

    A backlog on one of them closes nothing early; before both have begun it is ``NOT_BEGUN``.
    """
    return min(applications_reached, engagements_reached)
