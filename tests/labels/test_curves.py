"""The silence curves: what a share is between the ages, which ages matter, and which curves are none."""

import numpy as np
import pytest
from builders import DAY
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.errors import CurveError
from stream_qa.labels.curves import SilenceCurves

BY_AGE = SilenceCurves(ages=(0, DAY, 3 * DAY), by_age=(0.1, 0.5, 0.9))
BY_ACTIVITY = SilenceCurves(
    ages=(0, DAY, 3 * DAY),
    by_age=(0.1, 0.5, 0.9),
    activities=(0, 2),
    by_activity=((0.0, 0.25, 0.5), (0.5, 0.75, 1.0)),
)


@st.composite
def curves(draw: st.DrawFn) -> SilenceCurves:
    ages = sorted(draw(st.sets(st.integers(0, 100 * DAY), min_size=1, max_size=6)))
    levels = draw(st.integers(0, 4))
    steps = st.lists(st.floats(0, 1), min_size=len(ages), max_size=len(ages))
    rises = np.array(draw(st.lists(steps, min_size=1 + levels, max_size=1 + levels)))
    table = np.minimum(rises.cumsum(axis=0).cumsum(axis=1) / 4, 1.0)
    return SilenceCurves(
        ages=tuple(ages),
        by_age=tuple(table[-1].tolist()),
        activities=(0, 1, 2, 4)[:levels],
        by_activity=tuple(map(tuple, table[:levels].tolist())),
    )


@pytest.mark.parametrize(
    ("age", "share"),
    [(-1, 0.0), (0, 0.1), (DAY // 2, 0.3), (DAY, 0.5), (2 * DAY, 0.7), (3 * DAY, 0.9), (99 * DAY, 0.9)],
)
def test_between_the_ages_is_a_straight_line(age: int, share: float) -> None:
    assert BY_AGE.share(age, activity=7) == pytest.approx(share)


def test_before_the_first_age_silence_says_nothing() -> None:
    assert SilenceCurves(ages=(DAY,), by_age=(0.5,)).share(DAY - 1, 0) == 0.0


@pytest.mark.parametrize(("activity", "share"), [(0, 0.25), (1, 0.25), (2, 0.75), (1_000, 0.75)])
def test_the_activity_chooses_the_curve(activity: int, share: float) -> None:
    assert BY_ACTIVITY.share(DAY, activity) == share


@given(curves(), st.integers(-DAY, 200 * DAY), st.integers(0, 9))
def test_a_share_is_one_and_never_falls_with_age_or_activity(known: SilenceCurves, age: int, activity: int) -> None:
    share = known.share(age, activity)
    assert 0 <= share <= 1
    assert share <= known.share(age + 1, activity)
    assert share <= known.share(age, activity + 1) + 1e-12


def test_an_age_turns_where_a_curve_has_moved_enough_since_the_last_one() -> None:
    ages = (0, 1, 2, 3, 4)
    known = SilenceCurves(
        ages=ages,
        by_age=(0.0,) * 5,
        activities=(0, 1),
        by_activity=((0.0, 0.0, 0.125, 0.25, 0.25), (0.125, 0.25, 0.25, 0.25, 0.625)),
    )
    assert known.turning_ages(0.25) == (1, 3, 4)
    assert known.turning_ages(0.75) == ()


@given(curves(), st.floats(0.01, 1))
def test_turning_ages_are_few_and_between_them_no_curve_moves_enough(known: SilenceCurves, change: float) -> None:
    turning = known.turning_ages(change)
    levels = len(known.activities) or 1
    assert len(turning) <= levels / change + 1
    for level in known.activities or (0,):
        shares = [0.0, *(known.share(age, level) for age in turning)]
        for start, end, share in zip((-1, *turning), (*turning, known.ages[-1] + 1), shares, strict=True):
            assert all(known.share(age, level) - share < change for age in known.ages if start <= age < end)


@given(curves())
def test_json_brings_them_back(known: SilenceCurves) -> None:
    assert SilenceCurves.from_json(known.to_json()) == known


@pytest.mark.parametrize(
    ("ages", "by_age", "activities", "by_activity"),
    [
        ((), (), (), ()),
        ((-1, 1), (0.0, 1.0), (), ()),
        ((1, 1), (0.0, 1.0), (), ()),
        ((1, 2), (0.0,), (), ()),
        ((1, 2), (0.0, 1.5), (), ()),
        ((1, 2), (0.0, float("nan")), (), ()),
        ((1, 2), (0.5, 0.25), (), ()),
        ((1,), (0.5,), (0,), ()),
        ((1,), (0.5,), (1,), ((0.5,),)),
        ((1,), (0.5,), (0, 0), ((0.5,), (0.5,))),
        ((1,), (0.5,), (0, 1), ((0.5,), (0.25,))),
        ((1,), (0.5,), (0, 1), ((0.5,), (0.5, 0.75))),
    ],
)
def test_curves_that_contradict_themselves_are_none(
    ages: tuple[int, ...],
    by_age: tuple[float, ...],
    activities: tuple[int, ...],
    by_activity: tuple[tuple[float, ...], ...],
) -> None:
    with pytest.raises(CurveError):
        SilenceCurves(ages, by_age, activities, by_activity)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"ages": ["x"], "by_age": [0.5]}', b'{"ages": [1, 0], "by_age": [0.5, 0.5]}']
)
def test_text_that_holds_no_curves_is_refused(text: bytes) -> None:
    with pytest.raises(CurveError):
        SilenceCurves.from_json(text)
