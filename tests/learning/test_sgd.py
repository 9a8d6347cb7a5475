"""The learning rule, against the equations written out for one coordinate, finite differences and a batch fit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from stream_qa.learning import AdaptiveSGD, Prior, RandomEffect
from stream_qa.learning.arrays import Floats
from stream_qa.learning.sgd import Contribution, Learned, log_odds

DIMENSION = 3
ONE = np.ones(1)

vectors = arrays(np.float64, (1, DIMENSION), elements=st.floats(-10, 10))
numbers = st.floats(-10, 10)
weights = st.floats(0, 1)
values = st.sampled_from([0.0, 1.0])


def nothing_learned(entities: int = 1, dimension: int = DIMENSION) -> Learned:
    return Learned(np.zeros((entities, dimension)), np.zeros((entities, dimension)))


def weighted_log_loss(coefficients: Floats, features: Floats, offset: float, value: float, weight: float) -> float:
    signed = (1 - 2 * value) * (coefficients @ features + offset)
    return float(weight * np.logaddexp(0.0, signed))


@given(vectors, vectors, numbers, values, weights)
def test_a_step_is_the_scalar_equation_in_every_coordinate(
    coefficients: Floats, features: Floats, offset: float, value: float, weight: float
) -> None:
    rule = AdaptiveSGD(learning_rate=0.7, epsilon=0.3, prior_pull=0.02, coefficient_bound=8.0)
    squares = np.full((1, DIMENSION), 2.0)
    after, _ = rule.step(
        Learned(coefficients, squares), features, np.array([offset]), np.array([value]), np.array([weight])
    )

    score = sum(float(coefficients[0, k]) * float(features[0, k]) for k in range(DIMENSION)) + offset
    chance = 1 / (1 + math.exp(-min(max(score, -30.0), 30.0)))
    for k in range(DIMENSION):
        gradient = weight * (chance - value) * float(features[0, k])
        total = 2.0 + gradient**2
        held = float(coefficients[0, k])
        moved = held - 0.7 * (gradient + 0.02 * held) / math.sqrt(0.3 + total)
        assert after.squares[0, k] == pytest.approx(total, rel=1e-12)
        assert after.coefficients[0, k] == pytest.approx(min(max(moved, -8.0), 8.0), rel=1e-12, abs=1e-12)


@given(
    arrays(np.float64, (1, DIMENSION), elements=st.floats(-2, 2)),
    arrays(np.float64, (1, DIMENSION), elements=st.floats(-2, 2)),
    st.floats(-3, 3),
    values,
    weights,
)
def test_the_gradient_is_that_of_the_weighted_log_loss(
    coefficients: Floats, features: Floats, offset: float, value: float, weight: float
) -> None:
    _, added = AdaptiveSGD().step(
        Learned(coefficients, np.zeros_like(coefficients)),
        features,
        np.array([offset]),
        np.array([value]),
        np.array([weight]),
    )
    numerical = approx_fprime(coefficients[0], weighted_log_loss, 1e-7, features[0], offset, value, weight)
    assert added.gradient[0] * features[0] == pytest.approx(numerical, abs=1e-5)


def test_many_passes_over_fixed_data_come_close_to_the_batch_fit() -> None:
    generator = np.random.default_rng(3)
    rows = 400
    features = np.column_stack([np.ones(rows), generator.normal(size=(rows, DIMENSION - 1))])
    truth = np.array([0.3, 1.2, -0.8])
    value = (generator.random(rows) < 1 / (1 + np.exp(-features @ truth))).astype(np.float64)

    rule = AdaptiveSGD(prior_pull=0.0)
    learned = nothing_learned()
    for _ in range(25):
        for row in generator.permutation(rows):
            learned, _ = rule.step(learned, features[row : row + 1], np.zeros(1), value[row : row + 1], ONE)

    batch = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(features, value).coef_[0]
    online = learned.coefficients[0]

    def mean_loss(coefficients: Floats) -> float:
        return float(np.logaddexp(0.0, (1 - 2 * value) * (features @ coefficients)).mean())

    assert online @ batch / (np.linalg.norm(online) * np.linalg.norm(batch)) > 0.995
    assert mean_loss(online) < 1.005 * mean_loss(batch)


def test_an_offset_that_explains_the_label_leaves_little_to_learn() -> None:
    features = np.ones((2, DIMENSION))
    after, _ = AdaptiveSGD().step(nothing_learned(2), features, np.array([8.0, 0.0]), np.ones(2), np.ones(2))
    explained, unexplained = np.abs(after.coefficients).max(axis=1)
    assert explained < 0.001 * unexplained


@given(vectors, vectors, numbers, values, weights)
def test_a_step_taken_back_leaves_what_was_there_before(
    coefficients: Floats, features: Floats, offset: float, value: float, weight: float
) -> None:
    rule = AdaptiveSGD()
    before = Learned(coefficients, np.full((1, DIMENSION), 2.0))
    after, added = rule.step(before, features, np.array([offset]), np.array([value]), np.array([weight]))
    again = rule.retract(after, added, features)
    assert again.coefficients == pytest.approx(before.coefficients, abs=1e-12)
    # The largest gradient here is 10, its square 100: what the square of it rounds off.
    assert again.squares == pytest.approx(before.squares, abs=1e-12 * 100)


@settings(max_examples=50)
@given(st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_a_contribution_is_taken_out_exactly_after_other_steps(which: int, seed: int) -> None:
    rule = AdaptiveSGD()
    generator = np.random.default_rng(seed)
    learned = nothing_learned()
    steps: list[Floats] = []
    squares: list[Floats] = []
    contributions: list[tuple[Contribution, Floats]] = []
    for _ in range(6):
        before = learned
        features = generator.normal(size=(1, DIMENSION))
        learned, added = rule.step(
            before, features, generator.normal(size=1), generator.integers(0, 2, 1).astype(np.float64), ONE
        )
        steps.append(learned.coefficients - before.coefficients)
        squares.append(learned.squares - before.squares)
        contributions.append((added, features))

    without = rule.retract(learned, *contributions[which])
    others = [index for index in range(6) if index != which]
    assert without.coefficients == pytest.approx(sum(steps[index] for index in others), abs=1e-12)
    assert without.squares == pytest.approx(sum(squares[index] for index in others), abs=1e-12)


def test_taking_back_nothing_changes_nothing() -> None:
    learned = Learned(np.array([[0.1, -0.7, 3.0]]), np.array([[1.3, 0.0, 2.5]]))
    again = AdaptiveSGD().retract(
        learned, Contribution(np.zeros(1), np.zeros((1, DIMENSION))), np.full((1, DIMENSION), 9.0)
    )
    assert np.array_equal(again.coefficients, learned.coefficients)
    assert np.array_equal(again.squares, learned.squares)


@given(
    arrays(np.float64, (4, DIMENSION - 1), elements=st.floats(allow_nan=False, allow_infinity=False)),
    arrays(np.float64, 4, elements=st.floats(-2e9, 2e9)),
    arrays(np.float64, 4, elements=values),
    arrays(np.float64, 4, elements=weights),
)
def test_numbers_stay_finite_and_within_the_bound_for_any_finite_input(
    features: Floats, offset: Floats, value: Floats, weight: Floats
) -> None:
    effect = RandomEffect("member")
    whitened = effect.whiten(features)
    learned = nothing_learned(4)
    contributions = []
    for _ in range(3):
        learned, added = effect.rule.step(learned, whitened, offset, value, weight)
        contributions.append(added)
    for added in contributions:
        learned = effect.rule.retract(learned, added, whitened)
        for array in (*learned, *added, log_odds(learned.coefficients, whitened)):
            assert np.isfinite(array).all()
        assert np.abs(learned.coefficients).max() <= effect.rule.coefficient_bound
        assert learned.squares.min() >= 0


def test_a_hundred_thousand_steps_of_one_sign_stay_finite_and_within_the_bound() -> None:
    effect = RandomEffect("job", Prior(intercept_precision=0.3, slope_precision=0.3))
    features = effect.whiten(np.array([[1e300, -1e300]]))
    learned = nothing_learned()
    offset = np.array([-1e9])
    for _ in range(100_000):
        learned, _ = effect.rule.step(learned, features, offset, ONE, ONE)
    assert np.isfinite(learned.coefficients).all()
    assert np.isfinite(learned.squares).all()
    assert 0 < np.abs(learned.coefficients).max() <= effect.rule.coefficient_bound


def test_taking_back_a_step_never_leaves_the_bound() -> None:
    rule = AdaptiveSGD(learning_rate=5.0, coefficient_bound=2.0)
    features = np.ones((1, 1))
    nothing = nothing_learned(dimension=1)
    learned, down = rule.step(nothing, features, np.array([30.0]), np.zeros(1), ONE)
    for _ in range(10):
        learned, _ = rule.step(learned, features, np.array([-30.0]), ONE, ONE)
    assert learned.coefficients[0, 0] == 2.0
    assert down.step[0, 0] < 0
    assert rule.retract(learned, down, features).coefficients[0, 0] == 2.0


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    rule = AdaptiveSGD()
    generator = np.random.default_rng(1)
    for dimension in (1, 2, 7, 8, 9, 17, 130):
        learned = Learned(generator.normal(size=(33, dimension)), generator.random((33, dimension)))
        features, offset = generator.normal(size=(33, dimension)), generator.normal(size=33)
        value, weight = generator.integers(0, 2, 33).astype(np.float64), generator.random(33)
        together, added = rule.step(learned, features, offset, value, weight)
        for row in range(33):
            only = slice(row, row + 1)
            alone, added_alone = rule.step(
                Learned(learned.coefficients[only], learned.squares[only]),
                features[only],
                offset[only],
                value[only],
                weight[only],
            )
            assert np.array_equal(alone.coefficients[0], together.coefficients[row])
            assert np.array_equal(alone.squares[0], together.squares[row])
            assert added_alone.gradient[0] == added.gradient[row]
            assert np.array_equal(added_alone.step[0], added.step[row])
