"""Quality match: flags that do not flicker, need evidence, and are set where past flags were worth it."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_qa.products import MatchPolicy, Threshold, Verdict, judge, lowest_threshold

POLICY = MatchPolicy(threshold=0.5, margin=0.1, least_labels=5)

probabilities = st.floats(0, 1)
history = st.lists(st.tuples(st.integers(0, 10).map(lambda tenth: tenth / 10), st.integers(0, 1)), max_size=40)


def verdict(probability: float, *, labels: int = 10, flagged: bool = False, policy: MatchPolicy = POLICY) -> Verdict:
    [found] = judge(np.array([probability]), np.array([labels]), np.array([flagged]), policy)
    return found


def lowest(past: list[tuple[float, int]], precision: float, least_flagged: int = 1) -> Threshold | None:
    scores = np.array([score for score, _ in past], np.float64)
    return lowest_threshold(scores, np.array([value for _, value in past], np.float64), precision, least_flagged)


@pytest.mark.parametrize(
    ("probability", "flagged", "expected"),
    [
        (0.5, False, Verdict.MATCH),
        (0.49, False, Verdict.BELOW),
        (0.49, True, Verdict.KEPT),
        (0.4, True, Verdict.KEPT),
        (0.39, True, Verdict.BELOW),
        (0.9, True, Verdict.MATCH),
    ],
)
def test_a_flag_is_set_at_the_threshold_and_kept_within_the_margin(
    probability: float, flagged: bool, expected: Verdict
) -> None:
    assert verdict(probability, flagged=flagged) is expected


@pytest.mark.parametrize("flagged", [False, True])
def test_without_enough_labels_there_is_no_flag_however_high_the_score_and_whatever_was(flagged: bool) -> None:
    assert verdict(0.99, labels=4, flagged=flagged) is Verdict.LITTLE_EVIDENCE
    assert verdict(0.99, labels=5, flagged=flagged) is Verdict.MATCH


def test_only_a_match_and_what_is_kept_are_flags() -> None:
    assert [found for found in Verdict if found.flagged] == [Verdict.MATCH, Verdict.KEPT]


@given(st.lists(st.floats(0.41, 0.59), min_size=1, max_size=30))
def test_a_score_that_moves_within_the_margin_of_the_threshold_is_flagged_once_and_stays_so(path: list[float]) -> None:
    flagged, changes = False, 0
    for probability in path:
        before, flagged = flagged, verdict(probability, flagged=flagged).flagged
        changes += before != flagged
    assert changes <= 1


@given(st.lists(st.tuples(probabilities, st.integers(0, 10), st.booleans()), max_size=8))
def test_a_verdict_does_not_depend_on_the_scores_beside_it(scores: list[tuple[float, int, bool]]) -> None:
    chances, labels, flagged = (np.array(column) for column in zip(*scores, strict=True)) if scores else ((),) * 3
    together = judge(np.array(chances), np.array(labels), np.array(flagged, np.bool_), POLICY)
    assert together == [verdict(chance, labels=count, flagged=before) for chance, count, before in scores]


def test_the_threshold_is_the_lowest_at_which_the_flagged_were_positive_often_enough() -> None:
    past = [(0.9, 1), (0.8, 1), (0.7, 0), (0.6, 1), (0.5, 0), (0.4, 0)]
    assert lowest(past, 0.75) == Threshold(0.6, 0.75, 1.0, 4)
    assert lowest(past, 1.0) == Threshold(0.8, 1.0, 2 / 3, 2)


def test_scores_that_are_equal_are_flagged_together() -> None:
    assert lowest([(0.9, 1), (0.5, 1), (0.5, 0), (0.5, 0)], 0.6) == Threshold(0.9, 1.0, 0.5, 1)


def test_a_precision_of_too_few_is_not_believed() -> None:
    past = [(0.9, 1), (0.8, 0), (0.7, 0)]
    assert lowest(past, 0.9, least_flagged=1) == Threshold(0.9, 1.0, 1.0, 1)
    assert lowest(past, 0.9, least_flagged=2) is None


@pytest.mark.parametrize("past", [[], [(0.9, 0)], [(0.9, 0), (0.2, 0)]])
def test_where_no_threshold_was_ever_worth_it_there_is_none(past: list[tuple[float, int]]) -> None:
    assert lowest(past, 0.5) is None


@example([(0.0, 0)] * 7 + [(0.0, 1)] * 15, 0.25, 1)  # 15 / 22 * 22 is not quite 15
@given(history, st.sampled_from([0.25, 0.5, 0.9]), st.integers(1, 5))
def test_it_is_the_lowest_score_that_would_do_and_says_what_it_would_have_done(
    past: list[tuple[float, int]], precision: float, least_flagged: int
) -> None:
    doing = []
    for candidate in {score for score, _ in past}:
        values = [value for score, value in past if score >= candidate]
        if len(values) >= least_flagged and sum(values) / len(values) >= precision:
            doing.append((candidate, sum(values) / len(values), len(values)))
    found = lowest(past, precision, least_flagged)
    assert (found is None) == (not doing)
    if found is not None:
        assert (found.probability, found.precision, found.flagged) == min(doing)
        flagged = [value for score, value in past if score >= found.probability]
        assert found.recall == sum(flagged) / sum(value for _, value in past)
