"""Event time of one partition: how far both inputs have come, and what is due.

Keys of the label table. A deadline is a reminder to look at an application at a moment of event time; its key begins
with that moment, so what is due is one range of the table, in order, and costs nothing before.
"""

import struct

_MOMENT = struct.Struct(">q")
_DEADLINE = b"deadline/"
_LIFE_CYCLE = b"application/"

APPLICATIONS_REACHED = b"reached/applications"
ENGAGEMENTS_REACHED = b"reached/engagements"
NOT_BEGUN = -1


def life_cycle_key(application_id: str) -> bytes:
    """Return the key of an application's life cycle."""
    return _LIFE_CYCLE + application_id.encode()


def deadline_key(due: int, application_id: str) -> bytes:
    """Return the key that reminds of an application at event time ``due`` (ms)."""
    return _DEADLINE + _MOMENT.pack(due) + application_id.encode()


def deadline(key: bytes) -> tuple[int, str]:
    """Return the due time (ms) and the application id of a deadline's key."""
    moment = len(_DEADLINE) + _MOMENT.size
    return _MOMENT.unpack(key[len(_DEADLINE) : moment])[0], key[moment:].decode()


def deadline_range(after: int, until: int) -> tuple[bytes, bytes]:
    """Return the half-open key range of the deadlines with ``after < due <= until`` (ms)."""
    return _DEADLINE + _MOMENT.pack(after + 1), _DEADLINE + _MOMENT.pack(until + 1)


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
