"""ONNX files for tests: a weighted sum of two member features and one job feature, whole or wrong in one way."""

from collections.abc import Sequence
from typing import Any

from onnx import TensorProto, helper

WEIGHTS = [1.0, -2.0, 0.25]
Shape = Sequence[int | str]


def value(name: str, shape: Shape, kind: int = TensorProto.DOUBLE) -> Any:  # noqa: ANN401 # protobuf's
    return helper.make_tensor_value_info(name, kind, shape)


def weights(kind: int = TensorProto.DOUBLE, numbers: Sequence[float] = WEIGHTS) -> Any:  # noqa: ANN401 # protobuf's
    return helper.make_tensor("weights", kind, [len(numbers), 1], numbers)


def file(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: Sequence[Any] = (),
    *,
    domains: Sequence[str] = (),
    functions: Sequence[Any] = (),
    producer: str = "",
) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    operators = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=operators, ir_version=8, functions=functions, producer_name=producer)
    return bytes(model.SerializeToString())


def weighted(
    *,
    shape: Shape = ("n", 3),
    kind: int = TensorProto.DOUBLE,
    then: str = "Identity",
    domain: str = "",
    output: str = "log_odds",
    output_shape: Shape = ("n", 1),
    numbers: Sequence[float] = WEIGHTS,
) -> bytes:
    """Return a file with one input: features times weights, and an operator then."""
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node(then, ["sum"], [output], domain=domain),
    ]
    outputs = [value(output, output_shape, kind)]
    domains = [domain] if domain else []
    return file(nodes, [value("features", shape, kind)], outputs, [weights(kind, numbers)], domains=domains)


def looked_up(log_odds: Sequence[float]) -> bytes:
    """Return a file that cannot be run on all features: the first one is a place in a list of log-odds."""
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["listed", "place"], ["log_odds"]),
    ]
    listed = helper.make_tensor("listed", TensorProto.DOUBLE, [len(log_odds)], log_odds)
    constants = [weights(numbers=[1.0, 0.0, 0.0]), listed]
    return file(nodes, [value("features", ("n", 3))], [value("log_odds", ("n", 1))], constants)
