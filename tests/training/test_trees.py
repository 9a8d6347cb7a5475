"""Grown trees as ONNX: what scikit-learn itself predicts by them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from drawn import rows
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from stream_qa.errors import TrainingError
from stream_qa.learning import OnnxFunction, probability
from stream_qa.learning.arrays import Floats
from stream_qa.training.rows import Rows
from stream_qa.training.trees import as_onnx, grow_trees


def grown(random: np.random.Generator, **settings: object) -> tuple[HistGradientBoostingClassifier, Floats]:
    """Return trees over five features of very different sizes, one of whole numbers, and what they were grown on."""
    features = random.normal(size=(1_000, 5)) * [1e-6, 1.0, 1e3, 1e12, 3.0]
    features[:, 4] = features[:, 4].round()
    chance = probability(features[:, 1] * features[:, 4] + 1e6 * features[:, 0])
    return HistGradientBoostingClassifier(**settings).fit(features, random.random(1_000) < chance), features


@pytest.mark.parametrize("settings", [{}, {"max_depth": 1}, {"max_iter": 1}, {"max_leaf_nodes": None, "max_iter": 5}])
def test_probabilities_are_those_of_scikit_learn(settings: dict[str, object]) -> None:
    random = np.random.default_rng(1)
    classifier, features = grown(random, **settings)
    function = OnnxFunction(as_onnx(classifier), 2, 3)
    for seen in (features, features * random.normal(size=features.shape), features[:1]):
        odds = function.checked_log_odds(seen[:, :2], seen[:, 2:])
        assert probability(odds) == pytest.approx(classifier.predict_proba(seen)[:, 1], abs=1e-12)
        assert odds == pytest.approx(classifier.decision_function(seen), abs=1e-12)


def test_a_feature_on_a_threshold_goes_where_scikit_learn_sends_it() -> None:
    classifier, features = grown(np.random.default_rng(2), max_iter=20)
    splits = np.concatenate([predictor.nodes for (predictor,) in classifier._predictors])
    splits = splits[splits["is_leaf"] == 0]
    seen = np.repeat(features[:1], len(splits), axis=0)
    seen[np.arange(len(splits)), splits["feature_idx"]] = splits["num_threshold"]
    odds = OnnxFunction(as_onnx(classifier), 2, 3).log_odds(seen[:, :2], seen[:, 2:])
    assert odds == pytest.approx(classifier.decision_function(seen), abs=1e-12)


def test_trees_that_found_nothing_to_split_by_say_the_same_of_all() -> None:
    classifier = HistGradientBoostingClassifier(max_iter=3).fit(np.zeros((100, 2)), np.arange(100) % 4 == 0)
    odds = OnnxFunction(as_onnx(classifier), 1, 1).log_odds(np.arange(3.0)[:, np.newaxis], np.zeros((3, 1)))
    assert odds == pytest.approx([np.log(1 / 3)] * 3)


CLASSIFIER, FEATURES = grown(np.random.default_rng(3), max_iter=30)
FUNCTION = OnnxFunction(as_onnx(CLASSIFIER), 2, 3)


@settings(max_examples=20)
@given(cuts=st.sets(st.integers(1, 299), max_size=6))
def test_any_cut_into_batches_gives_the_same_to_the_last_bit(cuts: set[int]) -> None:
    ends = [0, *sorted(cuts), 300]
    parts = [FEATURES[start:end] for start, end in pairwise(ends)]
    found = np.concatenate([FUNCTION.log_odds(part[:, :2], part[:, 2:]) for part in parts])
    assert found.tobytes() == FUNCTION.log_odds(FEATURES[:300, :2], FEATURES[:300, 2:]).tobytes()


def test_they_are_grown_on_applications_that_bring_no_score_the_same_each_time() -> None:
    drawn = rows(np.random.default_rng(4), 600, brought=0.5)
    own = drawn.select(np.isnan(drawn.brought))
    features = np.column_stack([own.member_features, own.job_features])
    theirs = HistGradientBoostingClassifier(random_state=0).fit(features, own.value)
    function = grow_trees(drawn)
    assert function.content == grow_trees(drawn).content
    assert function.log_odds(own.member_features, own.job_features) == pytest.approx(theirs.decision_function(features))


@pytest.mark.parametrize(
    "alike", [lambda drawn: replace(drawn, value=0 * drawn.value), lambda drawn: replace(drawn, brought=drawn.value)]
)
def test_there_must_be_both_labels_to_grow_them_on(alike: Callable[[Rows], Rows]) -> None:
    with pytest.raises(TrainingError, match="both labels"):
        grow_trees(alike(rows(np.random.default_rng(5), 100)))
