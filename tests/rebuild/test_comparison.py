"""Two generations' scores of the same applications beside each other."""

import numpy as np
import pytest
from builders import DAY, START
from sklearn.metrics import log_loss as reference_log_loss
from sklearn.metrics import roc_auc_score

from stream_qa.errors import EvaluationError
from stream_qa.events import wire
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.rebuild.comparing import Seen
from stream_qa.rebuild.comparison import Comparison, Scores, Verdict, compare

WINDOW = 14 * DAY


def compared(values: Floats, older: Floats, newer: Floats, job: Integers) -> Comparison:
    scores = Scores(older, np.zeros(len(values))), Scores(newer, np.ones(len(values)))
    return compare((1, 2), scores, values, job, since=START, differing=3)


def market(jobs: int = 60, each: int = 20) -> tuple[Floats, Floats, Integers]:
    """Return outcomes, the log-odds by which they were drawn, and the jobs, shapes ``(jobs * each,)``."""
    drawn = np.random.default_rng(3)
    truth = drawn.normal(0, 1.5, jobs * each)
    return (drawn.random(len(truth)) < 1 / (1 + np.exp(-truth))).astype(float), truth, np.arange(len(truth)) % jobs


def test_figures_are_those_of_another_library() -> None:
    values, truth, job = market()
    found = compared(values, truth / 2, truth, job)
    for quality, log_odds in ((found.older_quality, truth / 2), (found.newer_quality, truth)):
        assert quality.log_loss.value == pytest.approx(reference_log_loss(values, 1 / (1 + np.exp(-log_odds))))
        assert quality.auc is not None
        assert quality.auc.value == pytest.approx(roc_auc_score(values, log_odds))
    assert found.newer_quality.global_log_loss.value == pytest.approx(
        reference_log_loss(values, np.full(len(values), 1 / (1 + np.exp(-1.0))))
    )
    assert (found.applications, found.jobs, found.positives, found.differing) == (1200, 60, values.sum(), 3)


def test_the_truth_is_better_than_noise_whichever_is_the_newer_one() -> None:
    values, truth, job = market()
    noise = np.random.default_rng(4).normal(0, 1.5, len(truth))
    assert compared(values, noise, truth, job).verdict is Verdict.BETTER
    assert compared(values, truth, noise, job).verdict is Verdict.WORSE


def test_the_same_scores_differ_by_nothing_and_no_difference_is_seen() -> None:
    values, truth, job = market()
    found = compared(values, truth, truth, job)
    assert found.verdict is Verdict.UNDECIDED
    for difference in (found.log_loss_difference, found.auc_difference):
        assert difference is not None
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_a_difference_is_bracketed_more_tightly_than_its_sides() -> None:
    values, truth, job = market()
    found = compared(values, truth, truth + np.random.default_rng(5).normal(0, 0.1, len(truth)), job)
    side, difference = found.newer_quality.log_loss, found.log_loss_difference
    assert difference.low <= difference.value <= difference.high
    assert side.low <= side.value <= side.high
    assert difference.high - difference.low < (side.high - side.low) / 3


def test_outcomes_that_are_all_alike_have_no_auc_and_none_at_all_is_an_error() -> None:
    found = compared(np.ones(4), np.zeros(4), np.ones(4), np.arange(4))
    assert (found.older_quality.auc, found.auc_difference) == (None, None)
    with pytest.raises(EvaluationError, match="no application that both"):
        compared(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))


def label(
    application_id: str, revision: int, value: int | None, *, final: bool, watermark: int, origin: int = 0
) -> bytes:
    return wire.encode(
        {
            "application_id": application_id,
            "member_id": "m",
            "job_id": "j",
            "revision": revision,
            "value": value,
            "weight": 1.0,
            "final": final,
            "reason": "",
            "happened_at": START,
            "applied_at": START,
            "feature_schema": "v1",
            "member_features": [],
            "job_features": [],
            "global_log_odds": 0.0,
            "job_log_odds": 0.0,
            "job_version": 0,
            "origin": origin,
            "watermark": watermark,
        }
    )


def test_an_outcome_counts_when_the_window_is_over_however_early_it_was_final() -> None:
    seen = Seen()
    seen.add_label(label("answered", 2, 1, final=True, watermark=START + DAY))
    assert seen.outcome("answered", WINDOW) is None
    # Another partition's event time says nothing of this one's.
    seen.add_label(label("other", 1, None, final=False, watermark=START + 2 * WINDOW, origin=1))
    assert seen.outcome("answered", WINDOW) is None
    seen.add_label(label("another", 1, None, final=False, watermark=START + WINDOW))
    assert seen.outcome("answered", WINDOW) == 1
    assert seen.outcome("another", WINDOW) is None
    assert seen.outcome("never-seen", WINDOW) is None


def test_the_newest_revision_counts_in_whatever_order_they_are_read() -> None:
    seen = Seen()
    for revision, value in ((1, None), (3, 0), (2, 1)):
        seen.add_label(label("application", revision, value, final=revision > 1, watermark=START + WINDOW))
    assert seen.outcome("application", WINDOW) == 0


def test_what_is_no_score_or_no_label_is_counted_and_left_out() -> None:
    seen = Seen()
    for value in (b"no json", b"[]", b"{}"):
        seen.add_score(value)
        seen.add_label(value)
    assert (seen.refused, seen.scores, seen.labels) == (6, {}, {})
