"""What an answer says of other applications to the same job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.labels.curves import SilenceCurves
from stream_qa.labels.life_cycle import SilentNegative
from stream_qa.labels.policy import Silence, SilenceRule
from stream_qa.labels.silence import Activity, ByCurves, LaterResponse, SilenceSays, Visit, silence_says

LEVELS = (0, 1, 2, 4)
CURVES = SilenceCurves(
    ages=(0, 10, 20),
    by_age=(0.0, 0.5, 1.0),
    activities=LEVELS,
    by_activity=((0.0, 0.2, 0.9), (0.0, 0.4, 0.9), (0.1, 0.6, 1.0), (0.3, 0.8, 1.0)),
)
NEVER = -1


def ranges(visits: list[Visit]) -> list[tuple[int, int]]:
    return [(visit.since, visit.before) for visit in visits]


def test_by_the_rule_of_the_later_response_each_range_of_applications_is_visited_once() -> None:
    rule, activity = LaterResponse(0.5), Activity()
    assert ranges(rule.answered(activity, applied_at=30, answered_at=100)) == [(NEVER, 30)]
    assert rule.answered(activity, applied_at=20, answered_at=110) == []
    assert ranges(rule.answered(activity, applied_at=50, answered_at=120)) == [(30, 50)]


def test_the_later_response_is_said_once_with_its_weight() -> None:
    rule, activity = LaterResponse(0.5), Activity(answered=30, answered_at=100)
    said = rule.says(activity, 29, 101, None)
    assert said == SilentNegative("later-response", 0.5, 100)
    assert rule.says(activity, 29, 101, said) is None
    assert rule.says(activity, 30, 101, None) is None


def test_by_curves_an_answer_visits_those_that_come_to_another_level() -> None:
    rule, activity = ByCurves(CURVES, 0.12), Activity()
    # The first answer since they were sent: for all of them.
    assert ranges(rule.answered(activity, 1, 100)) == [(NEVER, 100)]
    # The first for those in between, the second for those before.
    assert ranges(rule.answered(activity, 2, 200)) == [(100, 200), (NEVER, 100)]
    assert ranges(rule.answered(activity, 3, 300)) == [(200, 300), (100, 200)]
    assert ranges(rule.answered(activity, 4, 400)) == [(300, 400), (200, 300), (NEVER, 100)]
    # Before the first answer there were more than the highest level.
    assert ranges(rule.answered(activity, 5, 500)) == [(400, 500), (300, 400), (100, 200)]


def test_an_answer_that_comes_late_visits_only_those_for_which_it_counts() -> None:
    rule, activity = ByCurves(CURVES, 0.12), Activity()
    rule.answered(activity, 1, 100)
    rule.answered(activity, 2, 300)
    # Those sent before 200 had one answer and now have two; those between 100 and 200 too.
    assert ranges(rule.answered(activity, 3, 200)) == [(100, 200)]
    assert activity.answers == [300, 200, 100]


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(0, 30))
def test_an_application_is_visited_when_its_level_changes_and_only_then(moments: list[int], applied_at: int) -> None:
    rule, activity = ByCurves(CURVES, 0.12), Activity()
    for number, moment in enumerate(moments):
        before, after = (sum(each > applied_at for each in moments[:count]) for count in (number, number + 1))
        visits = rule.answered(activity, number, moment)
        visited = sum(visit.since <= applied_at < visit.before for visit in visits)
        assert visited == (after > before and after in LEVELS)
        assert activity.since(applied_at) == min(after, max(LEVELS) + 1)
        assert len(activity.answers) <= max(LEVELS) + 1


def test_the_weight_is_that_of_age_and_activity_and_said_when_it_has_moved() -> None:
    rule, activity = ByCurves(CURVES, 0.3), Activity(answers=[15, 12, 5])
    assert rule.says(activity, 6, 16, None) == SilentNegative("curve", 0.6, 16)
    assert rule.says(activity, 6, 16, SilentNegative("curve", 0.4, 14)) is None
    assert rule.says(activity, 6, 26, SilentNegative("curve", 0.6, 16)) == SilentNegative("curve", 1.0, 26)


def test_where_only_the_age_counts_answers_visit_nobody() -> None:
    rule, activity = ByCurves(SilenceCurves((0, 10), (0.0, 1.0)), 0.5), Activity()
    assert rule.answered(activity, 7, 8) == []
    assert (activity.answered, activity.answers) == (7, [])
    assert rule.ages == (10,)


@pytest.mark.parametrize(
    ("rule", "curves", "kind"),
    [
        (SilenceRule.NONE, CURVES, type(None)),
        (SilenceRule.LATER_RESPONSE, CURVES, LaterResponse),
        (SilenceRule.CURVE, None, LaterResponse),
        (SilenceRule.CURVE, CURVES, ByCurves),
    ],
)
def test_the_policy_chooses_the_rule(
    rule: SilenceRule, curves: SilenceCurves | None, kind: type[SilenceSays | None]
) -> None:
    assert type(silence_says(Silence(rule=rule), curves)) is kind


def test_activity_survives_its_record() -> None:
    activity = Activity(3, 4, [9, 8], [Visit(1, 2, "a"), Visit(5, 6)])
    assert Activity.unpack(activity.pack()) == activity
    assert Activity.unpack(None) == Activity()
