"""Which scores a recruiter hears of at once, and in which words."""

import pytest
from builders import read_score, score

from stream_qa.products import NotificationPolicy, explanation, is_very_high

POLICY = NotificationPolicy(per_job_and_day=3, probability=0.8, least_steps=5)


@pytest.mark.parametrize(("probability", "told"), [(0.8, True), (0.95, True), (0.799, False), (0.0, False)])
def test_a_match_is_very_high_from_a_probability_on(probability: float, told: bool) -> None:
    assert is_very_high(read_score(score(probability=probability)), POLICY) is told


@pytest.mark.parametrize(
    ("member_version", "job_version", "told"), [(5, 0, True), (0, 5, True), (2, 3, True), (2, 2, False)]
)
def test_both_sides_together_must_know_something(member_version: int, job_version: int, told: bool) -> None:
    found = read_score(score(member_version=member_version, job_version=job_version))
    assert is_very_high(found, POLICY) is told


def test_the_explanation_begins_with_what_speaks_for_the_match_most() -> None:
    found = read_score(score(global_log_odds=-0.25, member_log_odds=2.0, job_log_odds=0.5, probability=0.905))
    assert explanation(found) == (
        "An answer is 90% likely: +2.00 by what this member has been answered to (3 label steps), "
        "+0.50 by what this job has answered before (4 label steps), -0.25 by what holds for everybody."
    )


def test_what_says_nothing_is_left_out_of_the_explanation() -> None:
    found = read_score(score(global_log_odds=0.001, member_log_odds=0.0, job_log_odds=1.5, probability=0.82))
    assert explanation(found) == (
        "An answer is 82% likely: +1.50 by what this job has answered before (4 label steps)."
    )
    found = read_score(score(global_log_odds=0.0, member_log_odds=0.0, job_log_odds=0.0, probability=0.5))
    assert explanation(found) == "An answer is 50% likely: as for everybody."
