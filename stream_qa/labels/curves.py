"""How surprising silence is: the share of historical positives that were answered by an age.

F(age) is over all of them, F(age, activity) over those on whose job the other side had done as much since the
application: the more it has answered others, the more its silence says.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from stream_qa.errors import CurveError


@dataclass(frozen=True, slots=True)
class SilenceCurves:
    """Shares of historical positives with an answer, by age and by the other side's activity.

    Raises
    ------
    CurveError
        Curves that contradict themselves.
    """

    ages: tuple[int, ...]
    """Ages (ms) at which the curves are known, ascending; in between they are straight lines."""
    by_age: tuple[float, ...]
    """F(age) at each of ``ages``, in [0, 1], never decreasing."""
    activities: tuple[int, ...] = ()
    """The lowest activity of each level, ascending from 0; empty where only the age counts.

    Activity is the number of other applications of the job whose first deciding engagement came after this
    application.
    """
    by_activity: tuple[tuple[float, ...], ...] = ()
    """F(age, activity) at each of ``ages``, a row a level; rows never decrease, nor do columns."""

    def __post_init__(self) -> None:
        """Check them."""
        if not self.ages or self.ages[0] < 0 or not _ascends(self.ages):
            raise CurveError("the ages of silence curves do not ascend from 0 or more")
        if self.activities and (self.activities[0] != 0 or not _ascends(self.activities)):
            raise CurveError("the activity levels of silence curves do not ascend from 0")
        if len(self.by_activity) != len(self.activities):
            raise CurveError(f"{len(self.by_activity)} silence curves for {len(self.activities)} activity levels")
        for curve in (self.by_age, *self.by_activity):
            if len(curve) != len(self.ages):
                raise CurveError(f"a silence curve has {len(curve)} values for {len(self.ages)} ages")
            if not all(0 <= share <= 1 for share in curve) or not _never_decreases(curve):
                raise CurveError("a silence curve leaves [0, 1] or falls with the age")
        for lower, higher in pairwise(self.by_activity):
            if any(one > other for one, other in zip(lower, higher, strict=True)):
                raise CurveError("silence curves fall with the activity")

    def share(self, age: int, activity: int) -> float:
        """Return F for an ``age`` (ms) and an activity: 0 before the first age, the last value after the last."""
        curve = self.by_age
        if self.activities:
            curve = self.by_activity[max(bisect_right(self.activities, activity) - 1, 0)]
        after = bisect_right(self.ages, age)
        if after == 0:
            return 0.0
        if after == len(self.ages):
            return curve[-1]
        start, end = self.ages[after - 1], self.ages[after]
        reached = curve[after - 1] + (curve[after] - curve[after - 1]) * ((age - start) / (end - start))
        # Rounding may lead a hair beyond the end of the line.
        return min(reached, curve[after])

    def turning_ages(self, minimum_change: float) -> tuple[int, ...]:
        """Return the ages (ms) at which some curve has moved by ``minimum_change`` or more since the last of them."""
        curves = self.by_activity or (self.by_age,)
        last = (0.0,) * len(curves)
        turning = []
        for age, *shares in zip(self.ages, *curves, strict=True):
            if max(share - before for share, before in zip(shares, last, strict=True)) >= minimum_change:
                turning.append(age)
                last = tuple(shares)
        return tuple(turning)

    def to_json(self) -> bytes:
        """Return them as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes) -> "SilenceCurves":
        """Return what :meth:`to_json` wrote.

        Raises
        ------
        CurveError
            The text holds no curves, or such that contradict themselves.
        """
        try:
            return _decode(text)
        except msgspec.MsgspecError as error:
            raise CurveError(f"no silence curves: {error}") from None


def _ascends(values: tuple[int, ...]) -> bool:
    return all(one < other for one, other in pairwise(values))


def _never_decreases(values: tuple[float, ...]) -> bool:
    return all(one <= other for one, other in pairwise(values))


_decode = msgspec.json.Decoder(SilenceCurves).decode
