"""Gradient-boosted trees by scikit-learn, written as ONNX: in double precision, so that they say the same."""

from importlib.util import find_spec
from typing import Any

import numpy as np

from stream_qa.errors import MissingExtraError, TrainingError
from stream_qa.learning import OnnxFunction
from stream_qa.learning.arrays import Floats
from stream_qa.learning.onnx_file import check_onnx
from stream_qa.training.rows import Rows

# The first that have the operator TreeEnsemble, and the file format of their time.
_OPERATORS = {"": 21, "ai.onnx.ml": 5}
_FORMAT = 10


def check_trees() -> None:
    """Check that trees can be grown, written and run.

    Raises
    ------
    MissingExtraError
        The extra ``trees`` is not installed.
    """
    if find_spec("sklearn") is None:
        raise MissingExtraError("trees need scikit-learn: pip install 'stream-qa[trees]'")
    check_onnx()


def grow_trees(rows: Rows) -> OnnxFunction:
    """Return trees over the raw features of both sides, grown on the rows that bring no global score.

    Raises
    ------
    TrainingError
        There is no such row, or all have the same label.
    MissingExtraError
        The extra ``trees`` is not installed.
    """
    check_trees()
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 # an extra: not everybody has it

    own = rows.select(np.isnan(rows.brought))
    if len(np.unique(own.value)) != len((0, 1)):
        raise TrainingError(f"trees need both labels: {len(own)} applications bring no global score of their own")
    features = np.column_stack([own.member_features, own.job_features])
    classifier = HistGradientBoostingClassifier(random_state=0).fit(features, own.value)
    return OnnxFunction(as_onnx(classifier), own.member_features.shape[1], own.job_features.shape[1])


def as_onnx(classifier: Any) -> bytes:  # noqa: ANN401 # scikit-learn has no types
    """Return an ONNX file of a fitted ``HistGradientBoostingClassifier`` of two classes, without missing values.

    Its input is ``features``, double, shape ``(n, d)``, and its output ``log_odds``, double, shape ``(n, 1)``.

    Raises
    ------
    MissingExtraError
        The extra ``trees`` is not installed.
    """
    check_trees()
    from onnx import TensorProto, helper  # noqa: PLC0415

    def tensor(name: str, numbers: Floats | list[float], kind: int = TensorProto.DOUBLE) -> Any:  # noqa: ANN401
        return helper.make_tensor(name, kind, [len(numbers)], numbers)

    # How they were grown is nothing that scikit-learn tells elsewhere; tests hold this against its predictions.
    trees = _Trees([predictor.nodes for (predictor,) in classifier._predictors])  # noqa: SLF001
    base = tensor("base", classifier._baseline_prediction.ravel().tolist())  # noqa: SLF001
    splits = len(trees.features)
    ensemble = helper.make_node(
        "TreeEnsemble",
        ["features"],
        ["sum"],
        domain="ai.onnx.ml",
        n_targets=1,
        tree_roots=trees.roots,
        nodes_featureids=trees.features,
        nodes_splits=tensor("splits", trees.thresholds),
        nodes_modes=tensor("modes", [0] * splits, TensorProto.UINT8),  # left is where a feature is not above
        nodes_truenodeids=trees.left,
        nodes_trueleafs=trees.left_is_leaf,
        nodes_falsenodeids=trees.right,
        nodes_falseleafs=trees.right_is_leaf,
        leaf_targetids=[0] * len(trees.leaves),
        leaf_weights=tensor("leaves", trees.leaves),
    )
    graph = helper.make_graph(
        [ensemble, helper.make_node("Add", ["sum", "base"], ["log_odds"])],
        "trees",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["n", classifier.n_features_in_])],
        [helper.make_tensor_value_info("log_odds", TensorProto.DOUBLE, ["n", 1])],
        [base],
    )
    operators = [helper.make_opsetid(domain, version) for domain, version in _OPERATORS.items()]
    return bytes(helper.make_model(graph, opset_imports=operators, ir_version=_FORMAT).SerializeToString())


class _Trees:
    """The splits of several trees one after another, and the leaves likewise; a number says which.

    Parameters
    ----------
    trees
        The nodes of each, as scikit-learn has them, the root first.
    """

    def __init__(self, trees: list[Any]) -> None:
        self.roots: list[int] = []
        self.features: list[int] = []
        self.thresholds: list[float] = []
        self.left: list[int] = []
        self.left_is_leaf: list[int] = []
        self.right: list[int] = []
        self.right_is_leaf: list[int] = []
        self.leaves: list[float] = []
        for nodes in trees:
            self._add(nodes)

    def _add(self, nodes: Any) -> None:  # noqa: ANN401
        is_leaf = nodes["is_leaf"].astype(np.bool_)
        splits, leaves = nodes[~is_leaf], nodes[is_leaf]
        first_split, first_leaf = len(self.features), len(self.leaves)
        number = np.where(is_leaf, first_leaf + np.cumsum(is_leaf) - 1, first_split + np.cumsum(~is_leaf) - 1)
        self.roots.append(first_split)
        self.leaves += leaves["value"].tolist()
        if is_leaf[0]:
            # A tree begins with a split: one that leads to the same leaf on both sides.
            splits, number, is_leaf = nodes, np.array([first_leaf]), np.array([True])
        self.features += splits["feature_idx"].tolist()
        self.thresholds += splits["num_threshold"].tolist()
        self.left += number[splits["left"]].tolist()
        self.left_is_leaf += is_leaf[splits["left"]].astype(int).tolist()
        self.right += number[splits["right"]].tolist()
        self.right_is_leaf += is_leaf[splits["right"]].astype(int).tolist()
