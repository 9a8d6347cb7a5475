"""Event time of one partition: how far both inputs have come, and what falls due on the way.

Everything that time does to an application happens at a fixed age, so the table has one index, of applications by the
moment they were sent. What falls due while event time moves on is, for each such age, one range of that index, in
order; a deadline itself is nowhere. Engagements that wait for their application have an index of the same kind.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum

import msgspec
from msgspec import Struct

from stream_qa.durations import DAY
from stream_qa.errors import FutureEventError, PolicyChangedError
from stream_qa.labels.policy import LabelPolicy

_MOMENT = struct.Struct(">q")
_LENGTH = struct.Struct(">H")
_LIFE_CYCLE = b"application/"
_ACTIVITY = b"activity/"

APPLIED = b"applied/"
"""The index of applications by ``applied_at``."""
WAITING = b"waiting/"
"""The index of engagements without an application, by ``engaged_at``."""
_SENT_TO = b"sent-to/"
_VISITING = b"visiting/"
CLOCK = b"clock"
"""How far the inputs have come."""
DURATIONS = b"durations"
"""The ages at which things fall due in this table."""
NOT_BEGUN = -1


class Due(IntEnum):
    """What event time brings about."""

    GIVING_UP = 0
    """An engagement has waited too long for its application."""
    STAYING_SILENT = 1
    """An application may have been silent for so long that this says something."""
    CLOSING = 2
    """The window of an application ends."""
    OVER = 3
    """Nothing can change an application's label any more."""
    FORGETTING = 4
    """The application's id may be used again."""


def ages(policy: LabelPolicy, silent: Sequence[int] = ()) -> dict[bytes, list[tuple[Due, int]]]:
    """Return, for each index, what falls due at which age (ms), the youngest first.

    Parameters
    ----------
    policy
        The policy.
    silent
        The ages (ms), ascending, at which silence may say something.
    """
    return {
        WAITING: [(Due.GIVING_UP, policy.orphan_wait)],
        APPLIED: [
            *[(Due.STAYING_SILENT, age) for age in silent if age < policy.window],
            (Due.CLOSING, policy.window),
            (Due.OVER, policy.retention),
            (Due.FORGETTING, policy.retention + policy.memory),
        ],
    }


def pack_durations(policy: LabelPolicy) -> bytes:
    """Return a record of the ages that must not change under existing state: what is due is found by them."""
    return _encode([policy.window, policy.retention, policy.memory, policy.orphan_wait])


def check_durations(record: bytes, policy: LabelPolicy) -> None:
    """Check that a policy ages applications as the one of which the record was made.

    Raises
    ------
    PolicyChangedError
        It does not.
    """
    if record != pack_durations(policy):
        window, retention, memory, orphan_wait = (milliseconds / DAY for milliseconds in _decode_durations(record))
        raise PolicyChangedError(
            f"the state was made with window_days {window:g}, revision_days {retention - window:g}, "
            f"memory_days {memory:g} and orphan_days {orphan_wait:g}, and the policy has other ones"
        )


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


def activity_key(job_id: str) -> bytes:
    """Return the key of what the other side has done on a job."""
    return _ACTIVITY + job_id.encode()


def sent_to_key(job_id: str, applied_at: int, application_id: str) -> bytes:
    """Return the key of an application in the index of a job's applications by ``applied_at`` (ms)."""
    return _sent_to(job_id) + _MOMENT.pack(applied_at) + application_id.encode()


def sent_to_entry(job_id: str, key: bytes) -> tuple[int, str]:
    """Return ``applied_at`` (ms) and the application id of a key of a job's index."""
    return index_entry(_sent_to(job_id), key)


def sent_to_range(job_id: str, since: int, before: int, after: str = "") -> tuple[bytes, bytes]:
    """Return the half-open key range of a job's applications with ``since <= applied_at < before`` (ms).

    Of those of ``since`` only such with an id larger than ``after``, where one is given.
    """
    prefix = _sent_to(job_id)
    start = prefix + _MOMENT.pack(max(since, 0)) + (after.encode() + b"\0" if after else b"")
    return start, prefix + _MOMENT.pack(max(before, 0))


def visiting_key(job_id: str) -> bytes:
    """Return the key that says that a job's applications are not all visited."""
    return _VISITING + job_id.encode()


def visiting_job(key: bytes) -> str:
    """Return the job of such a key."""
    return key[len(_VISITING) :].decode()


def visiting_range() -> tuple[bytes, bytes]:
    """Return the half-open range of all such keys."""
    return _VISITING, _VISITING[:-1] + b"0"


def _sent_to(job_id: str) -> bytes:
    # With its length in front, no job's id is the beginning of another's.
    job = job_id.encode()
    return _SENT_TO + _LENGTH.pack(len(job)) + job


def pack_moment(moment: int) -> bytes:
    """Return a record of an event time (ms)."""
    return _MOMENT.pack(moment)


def unpack_moment(record: bytes | None) -> int:
    """Return what :func:`pack_moment` packed; ``NOT_BEGUN`` where there is none."""
    return NOT_BEGUN if record is None else _MOMENT.unpack(record)[0]


class Input(Struct, array_like=True):
    """How far one input has come."""

    reached: int = NOT_BEGUN
    """The largest event time (ms) that was read and believed."""
    doubted: int = NOT_BEGUN
    """The time (ms) of an event that was too far ahead to be believed alone."""
    doubted_application: str = ""
    reached_by: str = ""
    """The application of the event that has reached so far; none where a tick has."""
    agreed: int = NOT_BEGUN
    """The largest event time (ms) that events of two applications have reached: one clock alone may be wrong."""

    def check(self, moment: int, application_id: str, jump: int) -> None:
        """Doubt an event that is more than ``jump`` (ms) ahead, unless another one before said the same.

        Raises
        ------
        FutureEventError
            It is the first to say so.
        """
        if self.reached == NOT_BEGUN or self.is_near(moment, jump):
            return
        agreed = self.doubted != NOT_BEGUN and abs(moment - self.doubted) <= jump
        if agreed and application_id != self.doubted_application:
            self.agreed = max(self.agreed, min(moment, self.doubted))
            return
        ahead = moment - self.reached
        self.doubted, self.doubted_application = moment, application_id
        raise FutureEventError(f"its time is {ahead} ms ahead of all before it, where {jump} are believed")

    def is_near(self, moment: int, jump: int) -> bool:
        """Return whether a moment (ms) is not more than ``jump`` (ms) ahead of what the input is known to have reached.

        Then nothing up to that moment is doubted.
        """
        return moment <= (NOT_BEGUN if self.reached == NOT_BEGUN else self.reached + jump)

    def move(self, moment: int, application_id: str) -> None:
        """Move on to the time (ms) of an event that was used."""
        if application_id != self.reached_by:
            self.agreed = max(self.agreed, min(moment, self.reached))
        if moment > self.reached:
            self._reach(moment, application_id)

    def come_to(self, moment: int) -> None:
        """Move on to an event time (ms) that the clock says."""
        if moment > self.reached:
            self._reach(moment, "")
            self.agreed = moment

    def _reach(self, moment: int, application_id: str) -> None:
        self.reached, self.reached_by = moment, application_id
        self.doubted, self.doubted_application = NOT_BEGUN, ""


class Clock(Struct, array_like=True):
    """The event time of a partition: a record of the label table."""

    applications: Input = msgspec.field(default_factory=Input)
    engagements: Input = msgspec.field(default_factory=Input)
    done: int = NOT_BEGUN
    """The event time (ms) until which all that falls due is done: behind the watermark while there is much of it."""

    @property
    def present(self) -> int:
        """The largest event time (ms) that two events speak of, ``NOT_BEGUN`` before there are any of both inputs."""
        both = min(self.applications.reached, self.engagements.reached)
        return NOT_BEGUN if both == NOT_BEGUN else max(both, self.applications.agreed, self.engagements.agreed)

    def watermark(self, lateness: int) -> int:
        """Return the event time (ms): the smaller of what both inputs have reached, less an allowed ``lateness`` (ms).

        A backlog on one of them closes nothing early; before both have begun it is ``NOT_BEGUN``.
        """
        reached = min(self.applications.reached, self.engagements.reached)
        return max(reached - lateness, NOT_BEGUN) if lateness else reached

    def pack(self) -> bytes:
        """Return the record."""
        return _encode(self)

    @staticmethod
    def unpack(record: bytes | None) -> "Clock":
        """Return what :meth:`pack` packed; one that has not begun where there is none."""
        return Clock() if record is None else _decode(record)


_decode_durations = msgspec.msgpack.Decoder(tuple[int, int, int, int]).decode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Clock).decode
