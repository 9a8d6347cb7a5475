"""A random effect: from raw features to the rule's space, and from there to what servers multiply with raw features."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.errors import StateFormatError
from stream_qa.learning import GRID, LOG_ODDS_BOUND, Prior, RandomEffect, Standardisation, probability
from stream_qa.learning.entity import entity_type, pack_many, unpack_many

EFFECT = RandomEffect("member", Prior(intercept_precision=4.0, slope_precision=16.0), features=Standardisation(20.0))
finite = st.floats(allow_nan=False, allow_infinity=False)


def packed(coefficients: list[float], version: int = 3) -> bytes:
    entity = unpack_many(entity_type(EFFECT.rule, len(coefficients)), [None])
    entity["coefficients"], entity["version"] = coefficients, version
    (record,) = pack_many(entity)
    return record


def test_whitened_features_have_an_intercept_a_bound_and_the_scale_of_the_prior() -> None:
    whitened = EFFECT.whiten(np.array([[1.0, -2.0], [1e300, -1e300]]))
    assert whitened.tolist() == [[0.5, 0.25, -0.5], [0.5, 5.0, -5.0]]


def test_no_features_leave_the_intercept() -> None:
    assert EFFECT.whiten(np.zeros((2, 0))).tolist() == [[0.5], [0.5]]


@given(st.lists(finite, min_size=3, max_size=3))
def test_any_finite_feature_whitens_to_a_finite_one_within_the_bound(features: list[float]) -> None:
    assert np.abs(EFFECT.whiten(np.array([features]))[0, 1:]).max() <= 20.0 * 0.25


def test_an_entity_is_scored_by_its_coefficients_and_a_missing_one_by_nothing() -> None:
    log_odds, versions = EFFECT.score(
        [packed([1.0, 2.0, -4.0]), None], np.array([0, 1]), np.array([[1.0, -2.0], [1.0, -2.0]])
    )
    assert log_odds.tolist() == [0.5 * 1.0 + 0.25 * 2.0 + -0.5 * -4.0, 0.0]
    assert versions.tolist() == [3, 0]


def test_an_entity_of_another_number_of_features_is_refused() -> None:
    with pytest.raises(StateFormatError):
        EFFECT.score([packed([1.0, 2.0])], np.array([0]), np.array([[1.0, -2.0]]))


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3), st.lists(st.floats(-20, 20), min_size=2, max_size=2))
def test_a_server_computes_the_score_of_the_worker_up_to_the_grid(
    coefficients: list[float], features: list[float]
) -> None:
    served = EFFECT.published(np.array([coefficients]))[0] @ np.array([1.0, *features])
    (log_odds,), _ = EFFECT.score([packed(coefficients)], np.array([0]), np.array([features]))
    assert served == pytest.approx(log_odds, abs=GRID / 2 * (1 + sum(map(abs, features))) + 1e-9)


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3))
def test_published_coefficients_are_on_the_grid_without_a_negative_zero(coefficients: list[float]) -> None:
    steps = EFFECT.published(np.array([coefficients])) * 2.0**24
    assert np.array_equal(steps, np.rint(steps))
    assert not np.signbit(steps[steps == 0]).any()


@given(finite)
def test_a_probability_is_one_for_any_finite_log_odds(log_odds: float) -> None:
    (chance,) = probability(np.array([log_odds])).tolist()
    assert 0 < chance < 1
    bounded = min(max(log_odds, -LOG_ODDS_BOUND), LOG_ODDS_BOUND)
    assert np.log(chance) - np.log1p(-chance) == pytest.approx(bounded, rel=1e-3, abs=1e-9)
