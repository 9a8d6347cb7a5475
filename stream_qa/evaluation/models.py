"""The models that are compared, by name: each takes what was replayed and scores all of it, with no look-ahead."""

from enum import StrEnum

from stream_qa.evaluation.evaluate import ModelScores
from stream_qa.evaluation.replayed import Replayed


class ModelName(StrEnum):
    """The models."""

    PERSONALISED = "personalised"
    """The pipeline itself."""
    GLOBAL = "global"
    """The bundle's global model alone, or what applications bring."""


def model_scores(name: ModelName, rows: Replayed) -> ModelScores:
    """Return the scores of a model."""
    match name:
        case ModelName.PERSONALISED:
            return ModelScores(rows.log_odds, rows.day_log_odds)
        case ModelName.GLOBAL:
            return ModelScores(rows.global_log_odds, rows.global_log_odds)
