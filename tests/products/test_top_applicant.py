"""Top applicant: a rank among the others, with ties, and without big words about tiny pools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.products import TopPolicy, standings

POLICY = TopPolicy(share=0.2, least_applicants=5)

pools = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=40)
shares = st.sampled_from([0.05, 0.1, 0.29, 0.5, 1.0])


def test_the_best_is_first_and_the_share_of_the_others_below_is_the_percentile() -> None:
    found = standings(np.array([0.5, 2.0, -1.0, 1.0, 0.0]), POLICY)
    assert found.rank.tolist() == [3, 1, 5, 2, 4]
    assert found.percentile.tolist() == [50, 100, 0, 75, 25]
    assert found.top.tolist() == [False, True, False, False, False]
    assert found.tied.tolist() == [0, 0, 0, 0, 0]


def test_equal_scores_share_the_better_rank_and_count_half_in_the_percentile() -> None:
    found = standings(np.array([1.0, 2.0, 1.0, 0.0, 1.0]), POLICY)
    assert found.rank.tolist() == [2, 1, 2, 5, 2]
    assert found.tied.tolist() == [2, 0, 2, 0, 2]
    assert found.percentile.tolist() == [50, 100, 50, 0, 50]


def test_a_crowd_of_equals_at_the_top_is_no_top_applicant() -> None:
    found = standings(np.array([3.0, 3.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), POLICY)
    assert not found.top.any()


@pytest.mark.parametrize("scores", [[1.0], [1.0, 0.0], [3.0, 2.0, 1.0, 0.0]])
def test_in_a_tiny_pool_there_are_ranks_but_neither_percentiles_nor_top_applicants(scores: list[float]) -> None:
    found = standings(np.array(scores), POLICY)
    assert found.rank.tolist() == list(range(1, len(scores) + 1))
    assert np.isnan(found.percentile).all()
    assert not found.top.any()


def test_an_only_applicant_has_no_percentile_whatever_the_policy() -> None:
    found = standings(np.array([1.0]), TopPolicy(share=1.0, least_applicants=1))
    assert np.isnan(found.percentile).all()
    assert not found.top.any()


@given(pools, shares)
def test_no_more_than_the_share_are_top_and_they_are_the_best(pool: list[float], share: float) -> None:
    scores = np.array(pool)
    found = standings(scores, TopPolicy(share=share, least_applicants=3))
    assert found.top.sum() <= share * len(pool) + 1e-9
    if found.top.any():
        assert scores[found.top].min() > scores[~found.top].max(initial=-np.inf)
    elif len(pool) >= 3:
        best = (scores == scores.max()).sum()
        assert best > share * len(pool)


@given(pools)
def test_every_applicant_is_counted_as_the_definitions_say(pool: list[float]) -> None:
    found = standings(np.array(pool), TopPolicy(least_applicants=2))
    for place, score in enumerate(pool):
        others = pool[:place] + pool[place + 1 :]
        assert found.rank[place] == 1 + sum(other > score for other in others)
        assert found.tied[place] == sum(other == score for other in others)
        if others:
            wins = sum(other < score for other in others) + sum(other == score for other in others) / 2
            assert found.percentile[place] == 100 * wins / len(others)
