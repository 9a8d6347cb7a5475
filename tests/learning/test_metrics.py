"""AUC against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from stream_qa.learning.metrics import auc


@given(
    st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=50).filter(
        lambda pairs: len({value for value, _ in pairs}) == 2
    )
)
def test_it_is_the_area_that_scikit_learn_computes_ties_included(pairs: list[tuple[bool, int]]) -> None:
    values = np.array([value for value, _ in pairs], np.float64)
    scores = np.array([score for _, score in pairs], np.float64)
    assert auc(values, scores) == pytest.approx(roc_auc_score(values, scores))


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0]])
def test_there_is_none_without_both_positives_and_negatives(values: list[float]) -> None:
    assert auc(np.array(values), np.zeros(len(values))) is None
