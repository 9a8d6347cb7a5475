"""One effect of many entities: each as scikit-learn and scipy fit it alone, and the prior as the entities say it."""

from itertools import pairwise

import numpy as np
import pytest
from drawn import penalised_loss, with_intercept
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.differentiate import hessian
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from stream_qa.learning.arrays import Floats, Integers
from stream_qa.training.effect_fit import EffectFit

PRECISIONS = np.array([0.5, 3.0, 8.0])


def converged(entity: Integers, features: Floats, values: Floats, precisions: Floats, offset: Floats) -> EffectFit:
    fit = EffectFit(entity, features, values, precisions)
    for _ in range(50):
        moved = fit.step(offset)
    assert moved < 1e-9
    return fit


def draw(seed: int, counts: list[int]) -> tuple[Integers, Floats, Floats, Floats]:
    """Return entities with so many rows each, shuffled, their features, labels and offsets."""
    random = np.random.default_rng(seed)
    entity = random.permutation(np.repeat(np.arange(len(counts)), counts))
    features = with_intercept(random.normal(0, 1, (len(entity), 2)))
    return entity, features, (random.random(len(entity)) < 0.6).astype(np.float64), random.normal(0, 1, len(entity))


def test_without_an_offset_it_is_the_logistic_regression_of_scikit_learn() -> None:
    _, features, values, _ = draw(1, [300])
    fit = converged(np.zeros(300, np.int64), features, values, np.array([1e-6, 2.0, 2.0]), np.zeros(300))
    theirs = LogisticRegression(C=1 / 2.0, tol=1e-10, max_iter=1_000).fit(features[:, 1:], values)
    assert fit.coefficients[0] == pytest.approx([*theirs.intercept_, *theirs.coef_[0]], abs=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_each_of_many_entities_is_at_the_optimum_that_scipy_finds_for_it_alone(seed: int, counts: list[int]) -> None:
    entity, features, values, offset = draw(seed, counts)
    fit = converged(entity, features, values, PRECISIONS, offset)
    for number in range(len(counts)):
        own = entity == number
        theirs = minimize(
            penalised_loss, np.zeros(3), args=(features[own], offset[own], values[own], PRECISIONS), tol=1e-10
        )
        assert fit.coefficients[number] == pytest.approx(theirs.x, abs=1e-4)
        assert fit.log_odds[own] == pytest.approx(features[own] @ fit.coefficients[number])


def test_a_row_of_weight_3_is_three_rows() -> None:
    entity, features, values, offset = draw(2, [7, 1, 20])
    times = np.random.default_rng(2).integers(1, 4, len(entity))
    weighted = EffectFit(entity, features, values, PRECISIONS, times.astype(np.float64))
    repeated = EffectFit(entity.repeat(times), features.repeat(times, axis=0), values.repeat(times), PRECISIONS)
    for _ in range(5):
        weighted.step(offset)
        repeated.step(offset.repeat(times))
    assert weighted.coefficients == pytest.approx(repeated.coefficients)
    assert weighted.variances == pytest.approx(repeated.variances)
    assert weighted.log_odds.repeat(times) == pytest.approx(repeated.log_odds)


def test_the_variances_are_those_of_laplace() -> None:
    entity, features, values, offset = draw(3, [7, 1, 20, 9])
    fit = converged(entity, features, values, PRECISIONS, offset)
    for number in range(4):
        own = entity == number

        def loss(points: Floats, own: Floats = own) -> Floats:
            flat = points.reshape(3, -1).T
            losses = [penalised_loss(point, features[own], offset[own], values[own], PRECISIONS) for point in flat]
            return np.array(losses).reshape(points.shape[1:])

        curvature = hessian(loss, fit.coefficients[number]).ddf
        assert fit.variances[number] == pytest.approx(np.diag(np.linalg.inv(curvature)), rel=1e-4)


def test_the_prior_is_the_one_that_the_entities_were_drawn_from() -> None:
    random = np.random.default_rng(5)
    truth = np.array([1.0, 4.0, 25.0])
    entity = np.repeat(np.arange(400), 200)
    features = with_intercept(random.normal(0, 1, (len(entity), 2)))
    drawn = random.normal(0, 1 / np.sqrt(truth), (400, 3))
    odds = (features * drawn[entity]).sum(axis=1)
    values = (random.random(len(entity)) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    fit = EffectFit(entity, features, values, np.full(3, 10.0))
    for _ in range(30):
        fit.step(np.zeros(len(entity)))
        fit.fit_precisions(0.1, 1_000.0)
    assert fit.precisions == pytest.approx(truth, rel=0.15)


def test_a_precision_stays_within_its_bounds() -> None:
    entity, features, values, offset = draw(4, [5, 5])
    fit = EffectFit(entity, features, values, PRECISIONS)
    fit.step(offset)
    fit.coefficients[:] = [[0.0, 100.0, 0.1], [0.0, -100.0, 0.1]]
    fit.variances[:] = 0.01
    fit.fit_precisions(0.3, 60.0)
    assert fit.precisions == pytest.approx([60.0, 0.3, 1 / 0.02])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans(), st.floats(-60, 60)), min_size=1, max_size=30))
def test_it_never_gets_worse_nor_infinite_whatever_the_rows_say(lines: list[tuple[float, bool, float]]) -> None:
    features = with_intercept(np.array([[feature] for feature, _, _ in lines]))
    values = np.array([value for _, value, _ in lines], np.float64)
    offset = np.array([odds for _, _, odds in lines])
    precisions = np.array([1e-6, 0.3])
    fit = EffectFit(np.zeros(len(lines), np.int64), features, values, precisions)
    losses = [penalised_loss(fit.coefficients[0], features, offset, values, precisions)]
    for _ in range(20):
        fit.step(offset)
        losses.append(penalised_loss(fit.coefficients[0], features, offset, values, precisions))
    assert np.isfinite(fit.coefficients).all()
    assert all(after <= before + 1e-6 * (1 + before) for before, after in pairwise(losses))
