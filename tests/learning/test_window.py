"""The window rule, against scikit-learn's and scipy's minimisers of what it minimises."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from stream_qa.learning import Window
from stream_qa.learning.arrays import Floats
from stream_qa.learning.rule import Columns, Labels
from stream_qa.learning.window import APPLICATIONS

DIMENSION = 4
RULE = Window()
CONVERGED = replace(RULE, newton_steps=30)
ONE = np.ones(1)


def nothing(rule: Window = RULE) -> tuple[Columns, Columns]:
    """Return what is known of one entity, and what one label has added, before there is any."""
    learned, added = (
        {name: np.zeros((1, *shape), kind) for name, kind, shape in fields}
        for fields in (rule.learned_fields(DIMENSION), rule.added_fields(DIMENSION))
    )
    return learned, added


def labels_of(count: int, *, seed: int = 0, offsets: bool = True) -> Labels:
    """Return ``count`` labels as one array each; features are exact in single precision."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, DIMENSION)).astype(np.float32).astype(np.float64)
    offset = generator.normal(size=count) * offsets
    value = (generator.random(count) < 1 / (1 + np.exp(-features @ [1.0, -2.0, 0.5, 0.0]))).astype(np.float64)
    return Labels(features, offset, value, generator.uniform(0.2, 1, count))


def one(labels: Labels, row: int) -> Labels:
    return Labels(*(column[row : row + 1] for column in labels))


def learn(rule: Window, labels: Labels, learned: Columns | None = None) -> tuple[Columns, list[Columns]]:
    """Return one entity after all of ``labels``, and what each of them added."""
    new, none = nothing()
    learned = learned or new
    all_added = []
    for row in range(len(labels.value)):
        learned, added = rule.step(learned, none, one(labels, row))
        all_added.append(added)
    return learned, all_added


def loss(coefficients: Floats, labels: Labels) -> float:
    """Return the weighted log-loss and the prior's part."""
    score = labels.features @ coefficients + labels.offset
    return float(labels.weight @ np.logaddexp(0, (1 - 2 * labels.value) * score) + coefficients @ coefficients / 2)


def test_converged_it_is_the_penalised_logistic_regression_of_scikit_learn() -> None:
    labels = labels_of(APPLICATIONS, offsets=False)
    fit = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-12, max_iter=1_000)
    fit.fit(labels.features, labels.value, sample_weight=labels.weight)
    learned, _ = learn(CONVERGED, labels)
    assert learned["coefficients"][0] == pytest.approx(fit.coef_[0], abs=1e-5)


def test_converged_it_is_the_minimum_that_scipy_finds_with_offsets() -> None:
    labels = labels_of(APPLICATIONS)
    found = minimize(loss, np.zeros(DIMENSION), (labels,), method="BFGS", options={"gtol": 1e-9})
    learned, _ = learn(CONVERGED, labels)
    assert learned["coefficients"][0] == pytest.approx(found.x, abs=1e-6)


def many_learn(rule: Window, scale: float, entities: int, count: int) -> tuple[Columns, list[Labels]]:
    """Return what entities know after ``count`` labels each with features of this deviation, and their labels."""
    generator = np.random.default_rng(round(10 * scale))
    features = (scale * generator.normal(size=(entities, count, DIMENSION))).astype(np.float32).astype(np.float64)
    offset, weight = generator.normal(size=(entities, count)), generator.uniform(0.2, 1, (entities, count))
    value = generator.integers(0, 2, (entities, count)).astype(np.float64)
    learned, none = (
        {name: np.repeat(column, entities, axis=0) for name, column in columns.items()} for columns in nothing(rule)
    )
    for row in range(count):
        learned, _ = rule.step(learned, none, Labels(features[:, row], offset[:, row], value[:, row], weight[:, row]))
    return learned, [Labels(*columns) for columns in zip(features, offset, value, weight, strict=True)]


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 3.0, 10.0])
def test_it_converges_for_large_features(scale: float) -> None:
    learned, labels = many_learn(CONVERGED, scale, entities=100, count=12)
    for coefficients, of_entity in zip(learned["coefficients"], labels, strict=True):
        found = minimize(loss, np.zeros(DIMENSION), (of_entity,), method="BFGS", options={"gtol": 1e-8})
        assert coefficients == pytest.approx(found.x, abs=1e-5)


@pytest.mark.parametrize("scale", [1.0, 3.0, 10.0])
def test_no_step_leaves_a_label_worse_explained(scale: float) -> None:
    """Not even the first few: more steps are never worse."""
    few, more = (replace(RULE, newton_steps=steps) for steps in (1, 2))
    for seed in range(40):
        labels = labels_of(8, seed=seed)
        labels = labels._replace(features=scale * labels.features)
        before, _ = learn(CONVERGED, Labels(*(column[:7] for column in labels)))
        losses = [loss(before["coefficients"][0], labels)]
        for rule in (few, more):
            after, _ = rule.step(before, nothing()[1], one(labels, 7))
            losses.append(loss(after["coefficients"][0], labels))
        assert losses[0] + 1e-9 >= losses[1] >= losses[2] - 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_two_steps_a_label_stay_close_to_the_minimum(seed: int) -> None:
    labels = labels_of(APPLICATIONS, seed=seed)
    found = minimize(loss, np.zeros(DIMENSION), (labels,), method="BFGS", options={"gtol": 1e-9})
    learned, _ = learn(RULE, labels)
    assert learned["coefficients"][0] == pytest.approx(found.x, abs=0.005 * np.abs(found.x).max())


@pytest.mark.parametrize("seed", range(5))
def test_with_older_applications_as_parabolas_it_stays_near_the_minimum_over_all(seed: int) -> None:
    labels = labels_of(6 * APPLICATIONS, seed=seed)
    found = minimize(loss, np.zeros(DIMENSION), (labels,), method="BFGS", options={"gtol": 1e-9})
    learned, _ = learn(RULE, labels)
    assert np.linalg.norm(learned["coefficients"][0] - found.x) < 0.25 * np.linalg.norm(found.x)
    last = Labels(*(column[-APPLICATIONS:] for column in labels))
    only_last, _ = learn(CONVERGED, last)
    assert loss(learned["coefficients"][0], labels) < loss(only_last["coefficients"][0], labels)


def test_the_parabola_of_a_label_has_the_slope_and_the_curvature_of_its_loss() -> None:
    labels = labels_of(3)
    learned, added = learn(RULE, labels)
    score = float(labels.features[2] @ learned["coefficients"][0])
    chance = 1 / (1 + np.exp(-score - labels.offset[2]))
    curvature, pull = float(added[2]["curvature"][0]), float(added[2]["pull"][0])
    assert curvature == pytest.approx(labels.weight[2] * chance * (1 - chance), rel=1e-12)
    assert curvature * score - pull == pytest.approx(labels.weight[2] * (chance - labels.value[2]), rel=1e-9)


def test_what_leaves_the_window_is_the_sum_of_its_parabolas() -> None:
    labels = labels_of(50)
    learned, added = learn(RULE, labels)
    left = range(50 - APPLICATIONS)
    features = labels.features[: len(left)]
    curvatures = np.array([added[row]["curvature"][0] for row in left])
    pulls = np.array([added[row]["pull"][0] for row in left])
    rows, columns = np.tril_indices(DIMENSION)
    matrix = features.T @ np.diag(curvatures) @ features
    assert learned["older_curvature"][0] == pytest.approx(matrix[rows, columns], abs=1e-12)
    assert learned["older_pull"][0] == pytest.approx(features.T @ pulls, abs=1e-12)


def test_a_label_that_left_the_window_long_ago_and_faded_is_taken_out_exactly() -> None:
    labels = labels_of(60)
    learned, added = learn(RULE, labels)
    faded = RULE.fade(learned, np.array([0.7]))
    without = RULE.retract(faded, added[3], np.array([0.7]), labels.features[3:4])
    others = [row for row in range(60 - APPLICATIONS) if row != 3]
    pulls = sum(0.7 * added[row]["pull"][0] * labels.features[row] for row in others)
    assert without["older_pull"][0] == pytest.approx(pulls, abs=1e-12)
    assert not np.array_equal(without["coefficients"], faded["coefficients"])


def test_a_revision_takes_the_row_of_the_label_before_it() -> None:
    labels = labels_of(10)
    learned, added = learn(RULE, labels)
    revised = one(labels, 4)._replace(value=1 - labels.value[4:5])
    without = RULE.retract(learned, added[4], ONE, revised.features)
    after, again = RULE.step(without, added[4], revised)
    assert after["taken"] == learned["taken"] == 10
    assert again["row"] == added[4]["row"] == 5
    changed = labels._replace(value=np.where(np.arange(10) == 4, 1 - labels.value, labels.value))
    found = minimize(loss, np.zeros(DIMENSION), (changed,), method="BFGS", options={"gtol": 1e-9})
    assert after["coefficients"][0] == pytest.approx(found.x, abs=0.005 * np.abs(found.x).max())


def test_a_label_taken_back_leaves_the_minimum_over_the_others() -> None:
    labels = labels_of(10)
    learned, added = learn(CONVERGED, labels)
    without = CONVERGED.retract(learned, added[4], ONE, labels.features[4:5])
    others = Labels(*(np.delete(column, 4, axis=0) for column in labels))
    found = minimize(loss, np.zeros(DIMENSION), (others,), method="BFGS", options={"gtol": 1e-9})
    assert without["coefficients"][0] == pytest.approx(found.x, abs=1e-6)


def test_labels_count_less_as_they_fade() -> None:
    labels = labels_of(40)
    learned, _ = learn(CONVERGED, Labels(*(column[:20] for column in labels)))
    faded = CONVERGED.fade(learned, np.array([0.25]))
    after, _ = learn(CONVERGED, one(labels, 20), faded)
    weight = np.concatenate([0.25 * labels.weight[:20], labels.weight[20:21]])
    seen = Labels(labels.features[:21], labels.offset[:21], labels.value[:21], weight)
    found = minimize(loss, np.zeros(DIMENSION), (seen,), method="BFGS", options={"gtol": 1e-9})
    assert after["coefficients"][0] == pytest.approx(found.x, abs=1e-6)


def test_no_coefficient_moves_further_than_the_longest_step() -> None:
    rule = replace(RULE, newton_steps=1, longest_step=0.125)
    learned, _ = nothing()
    after, _ = learn(rule, Labels(np.full((1, DIMENSION), 0.5), np.zeros(1), ONE, ONE))
    assert np.abs(after["coefficients"]).max() == 0.125
    assert not learned["coefficients"].any()


def test_a_matrix_that_is_singular_leaves_its_own_entity_where_it_is() -> None:
    labels = labels_of(2)
    learned, none = ({name: np.repeat(column, 2, axis=0) for name, column in columns.items()} for columns in nothing())
    # The first one's older applications take the prior's own curvature away, as no sum of parabolas can.
    rows, columns = np.tril_indices(DIMENSION)
    learned["older_curvature"][0] = -1.0 * (rows == columns)
    flat = labels._replace(features=labels.features * [[0.0], [1.0]])
    after, _ = RULE.step(learned, none, flat)
    assert not after["coefficients"][0].any()
    alone, _ = learn(RULE, one(labels, 1))
    assert np.array_equal(after["coefficients"][1], alone["coefficients"][0])
