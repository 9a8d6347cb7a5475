"""From labels to coefficients: the global model, the random effects, and the rule by which they learn."""

from stream_qa.learning.features import FeatureSchema, Standardisation
from stream_qa.learning.global_model import (
    LOG_ODDS_BOUND,
    BaseRate,
    GlobalModel,
    LinearModel,
    TrainedModel,
    probability,
)
from stream_qa.learning.onnx_function import OnnxFunction
from stream_qa.learning.onnx_model import OnnxModel
from stream_qa.learning.prior import Prior
from stream_qa.learning.random_effect import GRID, RandomEffect, published_log_odds
from stream_qa.learning.rule import Rule
from stream_qa.learning.sgd import SGD, AdaptiveSGD
from stream_qa.learning.window import Window

__all__ = [
    "GRID",
    "LOG_ODDS_BOUND",
    "SGD",
    "AdaptiveSGD",
    "BaseRate",
    "FeatureSchema",
    "GlobalModel",
    "LinearModel",
    "OnnxFunction",
    "OnnxModel",
    "Prior",
    "RandomEffect",
    "Rule",
    "Standardisation",
    "TrainedModel",
    "Window",
    "probability",
    "published_log_odds",
]
