"""A global model that is handed in as an ONNX file, and what is kept to tell later that it still says the same."""

import numpy as np

from stream_qa.bundle import Checks
from stream_qa.learning import OnnxFunction, OnnxModel
from stream_qa.learning.arrays import Floats
from stream_qa.learning.onnx_file import open_session
from stream_qa.training.joint_fit import OnnxFit
from stream_qa.training.rows import Rows

_CHECKS = 32


def handed_in(content: bytes) -> OnnxFit:
    """Return what takes an ONNX file's content as the global model, where it scores all rows.

    That raises :class:`~stream_qa.errors.OnnxModelError` where the file is no global model of the rows' features.

    Raises
    ------
    OnnxModelError
        It is no ONNX file, or could do more than compute.
    MissingExtraError
        The extra ``onnx`` is not installed.
    """
    open_session(content)

    def fit(rows: Rows) -> OnnxFunction:
        function = OnnxFunction(content, rows.member_features.shape[1], rows.job_features.shape[1])
        function.checked_log_odds(rows.member_features, rows.job_features)
        return function

    return fit


def made_up_checks(model: OnnxModel, rows: Rows) -> Checks:
    """Return applications that nobody sent, each feature that of another row, and what a model says of them."""
    random = np.random.default_rng(0)
    member_features, job_features = (_drawn(random, side) for side in (rows.member_features, rows.job_features))
    return Checks(
        member_features=member_features.tolist(),
        job_features=job_features.tolist(),
        log_odds=model.score(member_features, job_features).tolist(),
    )


def _drawn(random: np.random.Generator, features: Floats) -> Floats:
    return np.take_along_axis(features, random.integers(0, len(features), (_CHECKS, features.shape[1])), axis=0)
