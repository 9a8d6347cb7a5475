"""An ONNX file as a global model: what it computes, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_files import file, value, weighted, weights

from stream_qa.errors import OnnxModelError
from stream_qa.learning import LOG_ODDS_BOUND, OnnxFunction, OnnxModel, Standardisation
from stream_qa.learning.arrays import Floats

MEMBERS, JOBS = np.array([[3.0, 1.0], [0.5, -1.0], [0.0, 0.0]]), np.array([[4.0], [2.0], [0.0]])
SUMS = [2.0, 3.0, 0.0]


def two_inputs(names: tuple[str, str] = ("member_features", "job_features")) -> bytes:
    nodes = [
        helper.make_node("Concat", list(names), ["both"], axis=1),
        helper.make_node("MatMul", ["both", "weights"], ["log_odds"]),
    ]
    inputs = [value(names[0], ("n", 2)), value(names[1], ("n", 1))]
    return file(nodes, inputs, [value("log_odds", ("n", 1))], [weights()])


def both_probabilities() -> bytes:
    """Return a file as scikit-learn's converters write them: a label beside the probabilities of both classes."""
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["positive"]),
        helper.make_node("Sub", ["one", "positive"], ["negative"]),
        helper.make_node("Concat", ["negative", "positive"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [value("label", ("n",), TensorProto.INT64), value("probabilities", ("n", 2))]
    one = helper.make_tensor("one", TensorProto.DOUBLE, [1], [1.0])
    return file(nodes, [value("features", ("n", 3))], outputs, [weights(), one])


@pytest.mark.parametrize(
    "content",
    [
        weighted(),
        weighted(kind=TensorProto.FLOAT),
        weighted(shape=("n", "features")),
        weighted(then="Sigmoid", output="probability"),
        weighted(then="Sigmoid", output="probability", kind=TensorProto.FLOAT),
        two_inputs(),
        both_probabilities(),
    ],
)
def test_it_returns_log_odds_of_the_features_of_both_sides(content: bytes) -> None:
    function = OnnxFunction(content, 2, 1)
    assert function.checked_log_odds(MEMBERS, JOBS) == pytest.approx(SUMS, abs=1e-6)
    assert function.log_odds(MEMBERS[:0], JOBS[:0]).shape == (0,)


def test_a_vector_is_an_output_too() -> None:
    nodes = [helper.make_node("ReduceSum", ["features", "axis"], ["log_odds"], keepdims=0)]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    content = file(nodes, [value("features", ("n", 3))], [value("log_odds", ("n",))], [axis])
    assert OnnxFunction(content, 2, 1).log_odds(MEMBERS, JOBS).tolist() == [8.0, 1.5, 0.0]


def test_certainty_is_within_the_bound() -> None:
    function = OnnxFunction(weighted(then="Sigmoid", output="probability"), 2, 1)
    far = function.log_odds(np.array([[1e9, 0.0], [-1e9, 0.0]]), np.zeros((2, 1)))
    assert far == pytest.approx([LOG_ODDS_BOUND, -LOG_ODDS_BOUND], abs=1e-3)


def test_more_rows_than_are_run_at_once_come_in_their_order() -> None:
    many = np.arange(10_000.0)[:, np.newaxis]
    found = OnnxFunction(weighted(), 2, 1).log_odds(np.hstack([many, 0 * many]), 0 * many)
    assert found.tolist() == many[:, 0].tolist()


def nested_operator() -> bytes:
    """Return a file whose strange operator is in the branch of a condition."""
    branches = {
        name: helper.make_graph(
            [helper.make_node("Open", ["sum"], [f"{name}_out"], domain=domain)],
            name,
            [],
            [value(f"{name}_out", ("n", 1))],
        )
        for name, domain in (("then_branch", ""), ("else_branch", "com.example"))
    }
    branches["then_branch"].node[0].op_type = "Identity"
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node("If", ["always"], ["log_odds"], **branches),
    ]
    always = helper.make_tensor("always", TensorProto.BOOL, [], [True])
    inputs, outputs = [value("features", ("n", 3))], [value("log_odds", ("n", 1))]
    return file(nodes, inputs, outputs, [weights(), always], domains=["com.example"])


def numbers_in_another_file() -> bytes:
    elsewhere = weights()
    elsewhere.ClearField("double_data")
    elsewhere.data_location = TensorProto.EXTERNAL
    elsewhere.external_data.add(key="location", value="weights.bin")
    nodes = [helper.make_node("MatMul", ["features", "weights"], ["log_odds"])]
    return file(nodes, [value("features", ("n", 3))], [value("log_odds", ("n", 1))], [elsewhere])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be run"),
        (b"\x80\x04cos\nsystem\n", "no ONNX model"),
        (weighted()[:-20], "ONNX model"),
        (weighted(then="Open", domain="com.example"), "not in the standard: Open of com.example"),
        (weighted(then="Gelu", domain="com.microsoft"), "not in the standard"),
        (nested_operator(), "not in the standard: Open of com.example"),
        (numbers_in_another_file(), "numbers of weights in another file"),
        (weighted(shape=("n", 4), numbers=[1, 2, 3, 4]), r"shape \['n', 4\].*need \(n, 3\)"),
        (weighted(shape=(1, 3), output_shape=(1, 1)), r"shape \[1, 3\].*n free"),
        (weighted(shape=("n", 1, 3), output_shape=("n", 1, 1)), "shape"),
        (two_inputs(("features", "more")), "inputs features, more"),
        (weighted(kind=TensorProto.FLOAT16), "float16"),
        (weighted(output="score"), "outputs score, of which one should be named log_odds"),
    ],
)
def test_a_file_that_is_no_global_model_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(OnnxModelError, match=reason):
        OnnxFunction(content, 2, 1)


def test_a_function_made_of_standard_operators_is_none_of_its_own() -> None:
    opset = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Neg", ["minus"], ["y"])]
    function = helper.make_function("com.example", "Same", ["x"], ["y"], body, opset)
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node("Same", ["sum"], ["log_odds"], domain="com.example"),
    ]
    inputs, outputs = [value("features", ("n", 3))], [value("log_odds", ("n", 1))]
    content = file(nodes, inputs, outputs, [weights()], domains=["com.example"], functions=[function])
    assert OnnxFunction(content, 2, 1).log_odds(MEMBERS, JOBS).tolist() == SUMS


def test_a_file_is_run_as_what_it_was_judged_as() -> None:
    """A file that begins like onnxruntime's own format, whose operators nobody would have looked at."""
    nodes = [helper.make_node("MatMul", ["features", "weights"], ["log_odds"])]
    inputs, outputs = [value("features", ("n", 3))], [value("log_odds", ("n", 1))]
    content = file(nodes, inputs, outputs, [weights()], producer="ORTM")
    assert content[4:8] == b"ORTM"
    assert OnnxFunction(content, 2, 1).log_odds(MEMBERS, JOBS).tolist() == SUMS


def centred() -> bytes:
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node("ReduceMean", ["sum"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["sum", "mean"], ["log_odds"]),
    ]
    return file(nodes, [value("features", ("n", 3))], [value("log_odds", ("n", 1))], [weights()])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (weighted(then="Log"), "no finite number for 1 of 3"),
        (weighted(numbers=[np.nan, 0, 0]), "no finite number for 3 of 3"),
        (weighted(output="probability"), "no finite number for 2 of 3"),
        (centred(), "otherwise when others stand beside it"),
    ],
)
def test_on_rows_on_which_it_must_do_well_numbers_are_finite_and_each_of_its_own(content: bytes, reason: str) -> None:
    with pytest.raises(OnnxModelError, match=reason):
        OnnxFunction(content, 2, 1).checked_log_odds(MEMBERS, JOBS)


@pytest.mark.parametrize(
    "content", [weighted(numbers=[1, 2, 3, 1, -2, 0.25], shape=("n", "m")), weighted(then="Transpose")]
)
def test_what_does_not_work_out_when_it_is_run_is_refused(content: bytes) -> None:
    with pytest.raises(OnnxModelError):
        OnnxFunction(content, 2, 1).log_odds(MEMBERS, JOBS)


def model(content: bytes) -> OnnxModel:
    return OnnxModel(OnnxFunction(content, 2, 1), -0.75, Standardisation(), Standardisation())


def test_where_it_has_no_number_a_row_gets_that_of_all() -> None:
    assert model(weighted(then="Sqrt")).score(np.array([[4.0, 0.0], [-4.0, 0.0]]), np.zeros((2, 1))).tolist() == [
        2,
        -0.75,
    ]


finite = st.floats(allow_nan=False, allow_infinity=False)
VARIANTS: dict[str, Callable[[], bytes]] = {
    "double": weighted,
    "float": lambda: weighted(kind=TensorProto.FLOAT),
    "probability": lambda: weighted(then="Sigmoid", output="probability"),
}
MODELS = {name: model(content()) for name, content in VARIANTS.items()}
#: The runtime rounds a sigmoid of one row otherwise than of several; near 1 that is more in log-odds.
ROUNDING = {"probability": 1e-6}


@pytest.mark.parametrize("name", MODELS)
@given(rows=st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=8))
@example(rows=[(0.0, 0.0, 0.0), (2.015625, 0.0, 0.0)])
def test_a_score_is_finite_within_the_bound_and_the_same_alone(name: str, rows: list[tuple[float, ...]]) -> None:
    features = np.array(rows)

    def score(some: Floats) -> list[float]:
        scores: list[float] = MODELS[name].score(some[:, :2], some[:, 2:]).tolist()
        return scores

    together = score(features)
    alone = [score(row[np.newaxis])[0] for row in features]
    assert np.abs(np.subtract(together, alone)).max() <= ROUNDING.get(name, 0.0)
    assert np.abs(together).max() <= LOG_ODDS_BOUND
