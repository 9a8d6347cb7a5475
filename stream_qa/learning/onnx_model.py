"""A global model that is an ONNX file: grown trees, or whatever a user has trained."""

from dataclasses import dataclass

import numpy as np

from stream_qa.learning.arrays import Floats
from stream_qa.learning.features import Standardisation
from stream_qa.learning.global_model import LOG_ODDS_BOUND, TrainedModel
from stream_qa.learning.onnx_function import OnnxFunction


@dataclass(frozen=True, eq=False)
class OnnxModel(TrainedModel):
    """What an ONNX file says of the raw features of both sides."""

    function: OnnxFunction
    base_log_odds: float
    """Of an application for which the file has no finite number."""
    member_features: Standardisation
    """For the random effects, as the next."""
    job_features: Standardisation
    version: str = "none"

    def score(self, member_features: Floats, job_features: Floats) -> Floats:
        """Return the log-odds of raw features; see :class:`TrainedModel`."""
        found = self.function.log_odds(member_features, job_features)
        return np.clip(np.where(np.isfinite(found), found, self.base_log_odds), -LOG_ODDS_BOUND, LOG_ODDS_BOUND)
