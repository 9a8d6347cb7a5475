"""A function that an ONNX file computes: both sides' raw features in, log-odds out."""

import math
from typing import Any

import numpy as np

from stream_qa.errors import OnnxModelError
from stream_qa.learning.arrays import Floats
from stream_qa.learning.global_model import LOG_ODDS_BOUND
from stream_qa.learning.onnx_file import open_session

_SIDES = ("member_features", "job_features")
_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(double)": np.float64, "tensor(float)": np.float32}
_LOG_ODDS = "log_odds"
_PROBABILITIES = ("probability", "probabilities")
_ROWS_AT_ONCE = 4_096
_ALONE = 16
"""So many rows are also tried without the others."""
_ROUNDING = 1e-5
"""As far as that they may differ: the runtime rounds some functions of one row otherwise than of several."""


class OnnxFunction:
    """What an ONNX file computes.

    It has one input, the member's features and then the job's, shape ``(n, k + l)``, or two, named
    ``member_features``, shape ``(n, k)``, and ``job_features``, shape ``(n, l)``: float or double, ``n`` free. One of
    its outputs is named ``log_odds``, shape ``(n,)`` or ``(n, 1)``; or ``probability`` or ``probabilities``, which may
    also be ``(n, 2)``, that of a positive last. Other outputs are not asked for.

    Parameters
    ----------
    content
        The file's bytes.
    member_features, job_features
        How many there are, ``k`` and ``l``.

    Raises
    ------
    OnnxModelError
        It is no such file, has an operator beyond the standard, or numbers in other files.
    MissingExtraError
        The extra ``onnx`` is not installed.
    """

    def __init__(self, content: bytes, member_features: int, job_features: int) -> None:
        self.content = content
        self._session = open_session(content)
        self._types = _inputs(
            self._session.get_inputs(), dict(zip(_SIDES, (member_features, job_features), strict=True))
        )
        self._output = _output([output.name for output in self._session.get_outputs()])

    def log_odds(self, member_features: Floats, job_features: Floats) -> Floats:
        """Return the log-odds, shape ``(n,)``, of raw features, shapes ``(n, k)`` and ``(n, l)``.

        Not finite where the model has no number for a row.

        Raises
        ------
        OnnxModelError
            It cannot be run, or what it gives has another shape.
        """
        parts = [np.empty(0)]
        for start in range(0, len(member_features), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            parts.append(self._run(member_features[rows], job_features[rows]))
        return np.concatenate(parts)

    def checked_log_odds(self, member_features: Floats, job_features: Floats) -> Floats:
        """Return the log-odds of rows for which there must be some; see :meth:`log_odds`.

        Raises
        ------
        OnnxModelError
            Some are not finite, or depend on the rows beside them.
        """
        found = self.log_odds(member_features, job_features)
        if missing := int((~np.isfinite(found)).sum()):
            raise OnnxModelError(f"the ONNX model gives no finite number for {missing} of {len(found)} applications")
        for row in range(min(_ALONE, len(found))):
            (alone,) = self._run(member_features[row : row + 1], job_features[row : row + 1])
            if not abs(alone - found[row]) < _ROUNDING:
                raise OnnxModelError("the ONNX model scores an application otherwise when others stand beside it")
        return found

    def _run(self, member_features: Floats, job_features: Floats) -> Floats:
        sides = dict(zip(_SIDES, (member_features, job_features), strict=True))
        if len(self._types) == 1:
            sides = dict.fromkeys(self._types, np.column_stack([member_features, job_features]))
        try:
            (found,) = self._session.run(
                [self._output], {name: _as(self._types[name], side) for name, side in sides.items()}
            )
        except Exception as error:  # onnxruntime's errors have nothing in common
            raise OnnxModelError(f"the ONNX model cannot be run: {error}") from error
        rows, columns = len(member_features), (1,) if self._output == _LOG_ODDS else (1, 2)
        shape = getattr(found, "shape", None)
        if shape not in {(rows,), *((rows, count) for count in columns)}:
            what = type(found).__name__ if shape is None else f"of shape {shape}"
            raise OnnxModelError(f"the output {self._output} of the ONNX model is {what} for {rows} applications")
        numbers = np.asarray(found, np.float64).reshape(rows, -1)[:, -1]
        return numbers if self._output == _LOG_ODDS else _logit(numbers)


def _inputs(inputs: list[Any], counts: dict[str, int]) -> dict[str, type[np.floating[Any]]]:
    """Return the number type of each input by its name.

    Raises
    ------
    OnnxModelError
        They are not those that it should have.
    """
    if len(inputs) == 1:
        counts = {inputs[0].name: sum(counts.values())}
    if {given.name for given in inputs} != set(counts):
        names = ", ".join(given.name for given in inputs) or "none"
        raise OnnxModelError(
            f"the ONNX model has the inputs {names} where it should have one, or {' and '.join(_SIDES)}"
        )
    for given in inputs:
        if given.type not in _TYPES:
            raise OnnxModelError(f"the input {given.name} of the ONNX model is a {given.type}, not of float or double")
        # What is free has a name or none.
        if (
            len(given.shape) != len(("n", "features"))
            or isinstance(given.shape[0], int)
            or (isinstance(given.shape[1], int) and given.shape[1] != counts[given.name])
        ):
            raise OnnxModelError(
                f"the input {given.name} of the ONNX model has the shape {given.shape} where the log's features need "
                f"(n, {counts[given.name]}), n free"
            )
    return {given.name: _TYPES[given.type] for given in inputs}


def _output(names: list[str]) -> str:
    usable = [name for name in names if name in (_LOG_ODDS, *_PROBABILITIES)]
    if len(usable) != 1:
        raise OnnxModelError(
            f"the ONNX model has the outputs {', '.join(names)}, of which one should be named {_LOG_ODDS}, "
            f"{' or '.join(_PROBABILITIES)}"
        )
    return usable[0]


def _as(kind: type[np.floating[Any]], features: Floats) -> Any:  # noqa: ANN401 # an array of that type
    """Return features as the input's type; what is too large for it is its largest."""
    largest = float(np.finfo(kind).max)
    return np.clip(features, -largest, largest).astype(kind)


def _logit(chance: Floats) -> Floats:
    """Return the log-odds of probabilities, within the bound; NaN outside of [0, 1]."""
    least = 1.0 / (1.0 + math.exp(LOG_ODDS_BOUND))
    within = np.clip(np.where((chance >= 0.0) & (chance <= 1.0), chance, np.nan), least, 1.0 - least)
    return np.asarray(np.log(within) - np.log1p(-within))
