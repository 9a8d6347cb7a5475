"""The rules that take steps, against the equations written out for a coordinate, finite differences and a batch fit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from stream_qa.learning import SGD, AdaptiveSGD, Rule
from stream_qa.learning.arrays import Floats
from stream_qa.learning.rule import Columns, Labels

DIMENSION = 3
ONE = np.ones(1)
RULES = [AdaptiveSGD(), SGD()]
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.number))

vectors = arrays(np.float64, (1, DIMENSION), elements=st.floats(-10, 10))
numbers = st.floats(-10, 10)
weights = st.floats(0, 1)
values = st.sampled_from([0.0, 1.0])


def learned_of(coefficients: Floats, squares: float = 0.0) -> Columns:
    return {"coefficients": coefficients, "squares": np.full_like(coefficients, squares)}


def nothing_learned(entities: int = 1, dimension: int = DIMENSION) -> Columns:
    return learned_of(np.zeros((entities, dimension)))


def label(features: Floats, offset: float, value: float, weight: float) -> Labels:
    return Labels(features, np.array([offset]), np.array([value]), np.array([weight]))


def weighted_log_loss(coefficients: Floats, features: Floats, offset: float, value: float, weight: float) -> float:
    signed = (1 - 2 * value) * (coefficients @ features + offset)
    return float(weight * np.logaddexp(0.0, signed))


@given(vectors, vectors, numbers, values, weights)
def test_an_adaptive_step_is_the_scalar_equation_in_every_coordinate(
    coefficients: Floats, features: Floats, offset: float, value: float, weight: float
) -> None:
    rule = AdaptiveSGD(learning_rate=0.7, epsilon=0.3, prior_pull=0.02, coefficient_bound=8.0)
    after, _ = rule.step(learned_of(coefficients, 2.0), {}, label(features, offset, value, weight))

    score = sum(float(coefficients[0, k]) * float(features[0, k]) for k in range(DIMENSION)) + offset
    chance = 1 / (1 + math.exp(-min(max(score, -30.0), 30.0)))
    for k in range(DIMENSION):
        gradient = weight * (chance - value) * float(features[0, k])
        total = 2.0 + gradient**2
        held = float(coefficients[0, k])
        moved = held - 0.7 * (gradient + 0.02 * held) / math.sqrt(0.3 + total)
        assert after["squares"][0, k] == pytest.approx(total, rel=1e-12)
        assert after["coefficients"][0, k] == pytest.approx(min(max(moved, -8.0), 8.0), rel=1e-12, abs=1e-12)


@given(vectors, vectors, numbers, values, weights)
def test_a_plain_step_is_the_gradient_cut_to_its_longest(
    coefficients: Floats, features: Floats, offset: float, value: float, weight: float
) -> None:
    rule = SGD(learning_rate=0.7, longest_step=1.5, prior_pull=0.02, coefficient_bound=8.0)
    after, _ = rule.step({"coefficients": coefficients}, {}, label(features, offset, value, weight))

    score = sum(float(coefficients[0, k]) * float(features[0, k]) for k in range(DIMENSION)) + offset
    chance = 1 / (1 + math.exp(-min(max(score, -30.0), 30.0)))
    step = [
        -0.7 * (weight * (chance - value) * float(features[0, k]) + 0.02 * float(coefficients[0, k]))
        for k in range(DIMENSION)
    ]
    share = min(1.0, 1.5 / math.hypot(*step)) if any(step) else 1.0
    for k in range(DIMENSION):
        moved = float(coefficients[0, k]) + share * step[k]
        assert after["coefficients"][0, k] == pytest.approx(min(max(moved, -8.0), 8.0), rel=1e-12, abs=1e-12)


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
    numerical = approx_fprime(coefficients[0], weighted_log_loss, 1e-7, features[0], offset, value, weight)
    _, added = AdaptiveSGD().step(learned_of(coefficients), {}, label(features, offset, value, weight))
    assert added["gradient"][0] * features[0] == pytest.approx(numerical, abs=1e-5)
    plain = SGD(learning_rate=1.0, longest_step=1e9, prior_pull=0.0, coefficient_bound=1e9)
    _, added = plain.step({"coefficients": coefficients}, {}, label(features, offset, value, weight))
    assert added["step"][0] == pytest.approx(-numerical, abs=1e-5)


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
            learned, _ = rule.step(learned, {}, label(features[row : row + 1], 0.0, float(value[row]), 1.0))

    batch = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(features, value).coef_[0]
    online = learned["coefficients"][0]

    def mean_loss(coefficients: Floats) -> float:
        return float(np.logaddexp(0.0, (1 - 2 * value) * (features @ coefficients)).mean())

    assert online @ batch / (np.linalg.norm(online) * np.linalg.norm(batch)) > 0.995
    assert mean_loss(online) < 1.005 * mean_loss(batch)


@each_rule
def test_an_offset_that_explains_the_label_leaves_little_to_learn(rule: Rule) -> None:
    labels = Labels(np.ones((2, DIMENSION)), np.array([8.0, 0.0]), np.ones(2), np.ones(2))
    after, _ = rule.step(nothing_learned(2), {}, labels)
    explained, unexplained = np.abs(after["coefficients"]).max(axis=1)
    assert explained < 0.001 * unexplained


@each_rule
@settings(max_examples=50)
@given(which=st.integers(0, 5), kept=st.floats(0.01, 1), seed=st.integers(0, 2**32 - 1))
def test_a_faded_step_is_taken_out_exactly_after_other_steps(rule: Rule, which: int, kept: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    learned = {name: column for name, column in nothing_learned().items() if name == "coefficients" or rule is RULES[0]}
    parts: list[Columns] = []
    taken: list[tuple[Columns, Floats]] = []
    for _ in range(6):
        before = rule.fade(learned, np.array([kept]))
        features = generator.normal(size=(1, DIMENSION))
        labels = label(features, float(generator.normal()), float(generator.integers(0, 2)), 1.0)
        learned, added = rule.step(before, {}, labels)
        parts.append({name: learned[name] - before[name] for name in learned})
        taken.append((added, features))

    added, features = taken[which]
    without = rule.retract(learned, added, np.array([kept ** (5 - which)]), features)
    for name in learned:
        # Sums of squared gradients do not fade.
        faded = kept if name == "coefficients" else 1.0
        others = sum(faded ** (5 - index) * part[name] for index, part in enumerate(parts) if index != which)
        assert without[name] == pytest.approx(others, abs=1e-12)


def test_taking_back_a_step_never_leaves_the_bound() -> None:
    rule = AdaptiveSGD(learning_rate=5.0, coefficient_bound=2.0)
    features = np.ones((1, 1))
    learned, down = rule.step(nothing_learned(dimension=1), {}, label(features, 30.0, 0.0, 1.0))
    for _ in range(10):
        learned, _ = rule.step(learned, {}, label(features, -30.0, 1.0, 1.0))
    assert learned["coefficients"][0, 0] == 2.0
    assert down["step"][0, 0] < 0
    assert rule.retract(learned, down, ONE, features)["coefficients"][0, 0] == 2.0
