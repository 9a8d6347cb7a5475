"""Order within groups, calibration and intervals, against scikit-learn's metrics and against the definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import ndcg_score, roc_auc_score

from stream_qa.evaluation.metrics import (
    BINS,
    auc_interval,
    calibration,
    calibration_error,
    drawn_means,
    interval,
    ndcg,
    pair_auc,
)
from stream_qa.learning import probability
from stream_qa.learning.arrays import Booleans, Floats, Integers

Scores = tuple[Floats, Floats, Integers]


@st.composite
def grouped(draw: st.DrawFn) -> Scores:
    """Return values, scores with ties, and groups of very different sizes."""
    size = draw(st.integers(1, 60))
    rows = draw(st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(0, 4)), min_size=size, max_size=size))
    value, score, group = zip(*rows, strict=True)
    return np.array(value, np.float64), np.array(score, np.float64), np.array(group, np.int64)


def groups_with_both(values: Floats, group: Integers) -> list[Booleans]:
    """Return, for each group with positives and negatives, which rows it has."""
    masks = [group == number for number in np.unique(group)]
    return [mask for mask in masks if 0 < values[mask].mean() < 1]


@given(grouped())
def test_ndcg_is_the_mean_of_scikit_learns_over_groups_with_both(drawn: Scores) -> None:
    values, scores, group = drawn
    theirs = [ndcg_score([values[mask]], [scores[mask]], k=10) for mask in groups_with_both(values, group)]
    assert ndcg(values, scores, group) == (pytest.approx(np.mean(theirs)) if theirs else None)


@given(grouped())
def test_pair_auc_is_scikit_learns_auc_of_each_group_weighted_by_its_pairs(drawn: Scores) -> None:
    values, scores, group = drawn
    masks = groups_with_both(values, group)
    theirs = [roc_auc_score(values[mask], scores[mask]) for mask in masks]
    pairs = [values[mask].sum() * (1 - values[mask]).sum() for mask in masks]
    assert pair_auc(values, scores, group) == (pytest.approx(np.average(theirs, weights=pairs)) if theirs else None)


def test_what_lies_between_groups_is_no_matter_to_pairs() -> None:
    values, scores = np.array([1.0, 0.0, 1.0, 0.0]), np.array([5.0, 4.0, 2.0, 1.0])
    assert pair_auc(values, scores, np.array([0, 0, 1, 1])) == 1.0
    assert pair_auc(values, np.array([5.0, 4.0, 92.0, 91.0]), np.array([0, 0, 1, 1])) == 1.0


@given(st.lists(st.tuples(st.booleans(), st.floats(-20, 20)), min_size=1, max_size=80))
def test_the_bins_of_calibration_are_those_of_scikit_learn(pairs: list[tuple[bool, float]]) -> None:
    values, log_odds = np.array([value for value, _ in pairs], np.float64), np.array([odds for _, odds in pairs])
    came, predicted = calibration_curve(values, probability(log_odds), n_bins=BINS)
    ours, share, counts = calibration(values, log_odds)
    assert counts.sum() == len(values)
    assert ours == pytest.approx(predicted)
    assert share == pytest.approx(came)
    assert calibration_error(values, log_odds) == pytest.approx(np.average(np.abs(predicted - came), weights=counts))


def test_probabilities_that_are_the_shares_have_no_error() -> None:
    values = np.array([1.0, 1.0, 1.0, 0.0] * 10)
    assert calibration_error(values, np.full(40, np.log(3.0))) == pytest.approx(0.0)
    assert calibration_error(values, np.zeros(40)) == pytest.approx(0.25)


def drawn_anew(seed: int, jobs: int, replicates: int) -> list[Integers]:
    """Return how often each job is in each draw."""
    drawn = np.random.default_rng(seed)
    return [np.bincount(drawn.integers(jobs, size=jobs), minlength=jobs) for _ in range(replicates)]


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_that_of_the_areas_with_jobs_as_often_as_they_are_drawn(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    values, job = random.integers(2, size=200).astype(np.float64), random.integers(20, size=200)
    scores = np.round(values + random.normal(size=200), 1)
    theirs = [
        roc_auc_score(values, scores, sample_weight=counts[job]) for counts in drawn_anew(seed, int(job.max()) + 1, 50)
    ]
    assert auc_interval(values, scores, job, seed, replicates=50) == pytest.approx(np.quantile(theirs, [0.025, 0.975]))


def test_applications_of_one_job_count_as_one_draw() -> None:
    """The same rows a hundred times over, in their own jobs, say no more than once."""
    random = np.random.default_rng(1)
    values, scores, job = random.integers(2, size=60).astype(np.float64), random.normal(size=60), np.arange(60)
    once = auc_interval(values, scores, job)
    again = auc_interval(values.repeat(100), scores.repeat(100), job.repeat(100))
    assert again == pytest.approx(once)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_all_are_alike_there_is_nothing_to_say_of_their_order(value: float) -> None:
    values, scores, zeros = np.full(5, value), np.arange(5.0), np.zeros(5, np.int64)
    assert ndcg(values, scores, zeros) is None
    assert pair_auc(values, scores, zeros) is None
    assert auc_interval(values, scores, zeros) is None


def test_the_interval_of_a_mean_holds_it_as_often_as_it_should() -> None:
    """Clusters whose members are alike: an interval by single values would be far too narrow."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        sizes = random.integers(5, 50, 60)
        cluster = np.repeat(np.arange(60), sizes)
        values = random.normal(0.0, 1.0, 60)[cluster] + random.normal(0.0, 0.1, len(cluster))
        low, high = interval(drawn_means(values, cluster, replicates=400)) or (np.nan, np.nan)
        held += low <= 0.0 <= high
    assert 0.90 <= held / 200 <= 0.99
