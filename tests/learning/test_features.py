"""Standardised features: against scikit-learn, clipped, and finite for all that is finite."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from stream_qa.learning import Standardisation

finite = st.floats(allow_nan=False, allow_infinity=False)


def test_by_default_features_stay_as_they_are_but_for_the_bound() -> None:
    features = Standardisation(20.0)
    assert features.apply(np.array([[1.0, -2.0], [1e300, -21.0]])).tolist() == [[1.0, -2.0], [20.0, -20.0]]
    assert features.count is None


def test_they_are_standardised_as_scikit_learn_does_it() -> None:
    known = np.random.default_rng(1).normal(3.0, 2.0, (50, 3))
    features = Standardisation.of(known, bound=100.0)
    assert features.apply(known) == pytest.approx(StandardScaler().fit_transform(known))
    assert features.count == 3


def test_they_are_clipped() -> None:
    features = Standardisation(5.0, np.array([10.0]), np.array([2.0]))
    assert features.apply(np.array([[10.0], [12.0], [1e9], [-1e9]])).tolist() == [[0.0], [1.0], [5.0], [-5.0]]


def test_a_feature_that_never_changes_is_zero() -> None:
    assert Standardisation.of(np.full((4, 1), 7.0), bound=5.0).apply(np.array([[7.0], [8.0]])).tolist() == [
        [0.0],
        [1.0],
    ]


@pytest.mark.parametrize(
    ("other", "is_like"),
    [
        (Standardisation(5.0, np.zeros(2), np.ones(2)), True),
        (Standardisation(5.0), True),
        (Standardisation(4.0, np.zeros(2), np.ones(2)), False),
        (Standardisation(5.0, np.array([0.0, 1.0]), np.ones(2)), False),
        (Standardisation(5.0, np.zeros(2), np.array([1.0, 2.0])), False),
        (Standardisation(5.0, np.zeros(1), np.ones(1)), False),
    ],
)
def test_those_that_make_the_same_of_every_feature_are_alike(other: Standardisation, *, is_like: bool) -> None:
    ours = Standardisation(5.0, np.zeros(2), np.ones(2))
    assert ours.is_like(other) == other.is_like(ours) == is_like


@given(st.lists(finite, min_size=1, max_size=5), finite, st.floats(1e-300, 1e300))
def test_whatever_is_finite_stays_within_the_bound(raw: list[float], mean: float, scale: float) -> None:
    features = Standardisation(5.0, np.full(len(raw), mean), np.full(len(raw), scale))
    assert np.abs(features.apply(np.array([raw]))).max() <= 5.0
