"""What silence says before the window closes.

By the bundle's curves it says more with the age of an application and with every answer that others of the same job get
in the meantime. Without curves it says no at once, from the moment at which the other side answers an application that
was sent later to the same job: the rule ``later-response``, of LinkedIn's article (``docs/comparison.md`` names it).

Work does not grow with the applications that are open. An answer concerns ranges of the job's applications by
``applied_at``: those for which it is the one that matters. An application is in such a range at most once a level of
activity, and by ``later-response`` once.
"""

from bisect import bisect_left
from functools import lru_cache
from operator import neg
from typing import Protocol

import msgspec
from msgspec import Struct

from stream_qa.labels.curves import SilenceCurves
from stream_qa.labels.event_time import NOT_BEGUN
from stream_qa.labels.life_cycle import SilentNegative
from stream_qa.labels.policy import Silence, SilenceRule


class Visit(Struct, array_like=True):
    """Applications of a job about which silence has something new to say, and which are not yet visited."""

    since: int
    before: int
    """They were sent from ``since`` until before ``before`` (ms)."""
    after: str = ""
    """Of those sent at ``since``, only such with a larger id are left."""
    moment: int = NOT_BEGUN
    """When the answer came (ms) for which they are visited; not there in records of before it was kept."""


class Activity(Struct, array_like=True):
    """What the other side has done on one job: a record of the label table."""

    answered: int = NOT_BEGUN
    """When the answered application that was sent last was sent (ms)."""
    answered_at: int = NOT_BEGUN
    """When it was answered (ms)."""
    answers: list[int] = msgspec.field(default_factory=list)
    """When applications were answered first (ms), the newest in front: as many as levels of activity need."""
    visits: list[Visit] = msgspec.field(default_factory=list)
    """What is left to visit."""

    def since(self, applied_at: int) -> int:
        """Return how many answers there were since an application of ``applied_at`` (ms), of those that are kept."""
        return bisect_left(self.answers, -applied_at, key=neg)

    @property
    def newest(self) -> int:
        """The event time (ms) of the newest answer."""
        return self.answers[0] if self.answers else self.answered_at

    @property
    def visiting_at(self) -> int:
        """The event time (ms) of the answer for which applications are to be visited: all of them for one."""
        return next((visit.moment for visit in self.visits if visit.moment != NOT_BEGUN), self.newest)

    def pack(self) -> bytes:
        """Return the record."""
        return _encode(self)

    @staticmethod
    def unpack(record: bytes | None) -> "Activity":
        """Return what :meth:`pack` packed; none where there is none."""
        return Activity() if record is None else _decode(record)


class SilenceSays(Protocol):
    """A rule of silence."""

    @property
    def ages(self) -> tuple[int, ...]:
        """At which ages (ms) an unanswered application is to be looked at, whatever happens."""

    def answered(self, activity: Activity, applied_at: int, answered_at: int) -> list[Visit]:
        """Take note of the first answer to an application; return which others of the job are to be looked at."""

    def says(
        self, activity: Activity, applied_at: int, moment: int, said: SilentNegative | None
    ) -> SilentNegative | None:
        """Return what silence says of an unanswered application; ``None`` where that is nothing new.

        Parameters
        ----------
        activity
            What the other side has done on the job.
        applied_at
            When the application was sent (ms).
        moment
            The event time (ms) at which it is looked at.
        said
            What silence has said of it before.
        """


class LaterResponse:
    """No, once a later application is answered."""

    ages = ()

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def answered(self, activity: Activity, applied_at: int, answered_at: int) -> list[Visit]:
        """Visit those that were sent before, from where the last visit ended."""
        since = activity.answered
        if applied_at <= since:
            return []
        activity.answered, activity.answered_at = applied_at, answered_at
        return [Visit(since, applied_at, moment=answered_at)]

    def says(
        self,
        activity: Activity,
        applied_at: int,
        moment: int,  # noqa: ARG002
        said: SilentNegative | None,
    ) -> SilentNegative | None:
        """Say it once."""
        if said is not None or applied_at >= activity.answered:
            return None
        return SilentNegative(SilenceRule.LATER_RESPONSE, self._weight, activity.answered_at)


class ByCurves:
    """The more surprising the silence is, the more it counts."""

    def __init__(self, curves: SilenceCurves, minimum_change: float) -> None:
        self._curves = curves
        self._minimum_change = minimum_change
        self._levels = [level for level in curves.activities if level > 0]
        self.ages = curves.turning_ages(minimum_change)

    def answered(self, activity: Activity, applied_at: int, answered_at: int) -> list[Visit]:
        """Visit those that have come to another level of activity by this answer."""
        if applied_at > activity.answered:
            activity.answered, activity.answered_at = applied_at, answered_at
        if not self._levels:
            return []
        answers = activity.answers
        newer = activity.since(answered_at)
        answers.insert(newer, answered_at)
        del answers[self._levels[-1] + 1 :]
        visits = []
        for level in self._levels:
            if newer < level <= len(answers):
                # Sent before so many answers, and not before one more.
                since = answers[level] if level < len(answers) else NOT_BEGUN
                visits.append(Visit(since, answers[level - 1], moment=answered_at))
        return visits

    def says(
        self, activity: Activity, applied_at: int, moment: int, said: SilentNegative | None
    ) -> SilentNegative | None:
        """Say it where the curve has moved far enough."""
        weight = self._curves.share(moment - applied_at, activity.since(applied_at))
        if weight - (0.0 if said is None else said.weight) < self._minimum_change:
            return None
        return SilentNegative(SilenceRule.CURVE, weight, moment)


@lru_cache(maxsize=8)
def silence_says(silence: Silence, curves: SilenceCurves | None) -> SilenceSays | None:
    """Return the rule of a policy; ``None`` where silence says nothing."""
    match silence.rule:
        case SilenceRule.NONE:
            return None
        case SilenceRule.CURVE if curves is not None:
            return ByCurves(curves, silence.minimum_change)
        case _:
            return LaterResponse(silence.weight)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Activity).decode
