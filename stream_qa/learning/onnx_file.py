"""An ONNX file that someone hands in: judged before it is run, so that it can do nothing but compute.

``onnx`` reads it, ``onnxruntime`` runs it; both are the extra ``onnx``.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from stream_qa.errors import MissingExtraError, OnnxModelError

_STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""The domains of the operators that the standard defines. None of them touches a file."""


def check_onnx() -> None:
    """Check that ONNX files can be read and run.

    Raises
    ------
    MissingExtraError
        The extra ``onnx`` is not installed.
    """
    _libraries()


def open_session(content: bytes) -> Any:  # noqa: ANN401 # onnxruntime has no types
    """Return an ``onnxruntime.InferenceSession`` of one thread that runs a file's ``content``.

    Raises
    ------
    OnnxModelError
        It is no ONNX file, has an operator beyond the standard, or numbers in other files.
    MissingExtraError
        The extra ``onnx`` is not installed.
    """
    onnx, onnxruntime = _libraries()
    _check(content, onnx)
    options = onnxruntime.SessionOptions()
    # Rows are few and workers many.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # Its errors are raised as well. On the standard error they could have numbers of an application in them.
    options.log_severity_level = 4
    # It would take a file that begins like its own format for one, which is not what was judged.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have nothing in common
        raise OnnxModelError(f"the ONNX model cannot be run: {error}") from error


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import onnx  # noqa: PLC0415 # an extra: not everybody has it
        import onnxruntime  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("ONNX models need onnx and onnxruntime: pip install 'stream-qa[onnx]'") from error
    return onnx, onnxruntime


def _check(content: bytes, onnx: ModuleType) -> None:
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's, by whichever of its implementations
        raise OnnxModelError(f"this is no ONNX model: {error}") from error
    functions = {(function.domain, function.name) for function in model.functions}
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto):
            if message.domain not in _STANDARD and (message.domain, message.op_type) not in functions:
                operator = f"{message.op_type} of {message.domain}"
                raise OnnxModelError(f"the ONNX model has an operator that is not in the standard: {operator}")
        elif isinstance(message, onnx.TensorProto) and (
            message.data_location == onnx.TensorProto.EXTERNAL or message.external_data
        ):
            raise OnnxModelError(f"the ONNX model has the numbers of {message.name} in another file")


def _messages(message: Any) -> Iterator[Any]:  # noqa: ANN401 # protobuf's
    """Yield a protobuf message and all that are in it, however deep."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(inner)
