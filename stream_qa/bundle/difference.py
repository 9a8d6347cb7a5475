"""What two bundles have in common and what not, as plain data: for people, and for programs that watch retraining."""

from typing import Any

import numpy as np

from stream_qa.bundle.files import Description
from stream_qa.bundle.reading import Bundle
from stream_qa.durations import DAY
from stream_qa.labels.curves import SilenceCurves
from stream_qa.learning import LinearModel, OnnxModel, Prior, TrainedModel
from stream_qa.learning.arrays import Floats

_AGES_IN_DAYS = (1, 3, 7, 14)
_PERIOD = ("first_applied_at", "last_applied_at", "until", "applications", "positives", "members", "jobs")


def difference(one: Bundle, other: Bundle) -> dict[str, Any]:
    """Return what ``other`` has otherwise than ``one``; values stand in pairs, that of ``one`` first.

    Returns
    -------
    dict
        ``versions``, ``training`` (its period and counts), ``feature_schema``, ``scales``, ``global``, ``priors``,
        ``curves``, ``policy`` and ``hyper_parameters`` (only what differs), ``held_out``.
    """
    first, second = one.manifest.description, other.manifest.description
    return {
        "versions": [one.version, other.version],
        "training": {name: [getattr(first, name), getattr(second, name)] for name in _PERIOD},
        "feature_schema": {
            "same": first.feature_schema == second.feature_schema,
            "schemas": [str(one.feature_schema), str(other.feature_schema)],
        },
        "scales": {"same": _same_scales(one.global_model, other.global_model)},
        "global": _global(one.global_model, other.global_model),
        "priors": {
            "member": _precisions(one.member_prior, other.member_prior, 1 + first.feature_schema.job_features),
            "job": _precisions(one.job_prior, other.job_prior, 1 + first.feature_schema.member_features),
        }
        if first.feature_schema == second.feature_schema
        else None,
        "curves": _curves(one.curves, other.curves),
        "policy": _differing(first.policy, second.policy),
        "hyper_parameters": _differing(dict(first.hyper_parameters), dict(second.hyper_parameters)),
        "held_out": [_held_out(first), _held_out(second)],
    }


def _global(one: TrainedModel, other: TrainedModel) -> dict[str, Any]:
    kinds = ["linear" if isinstance(model, LinearModel) else "onnx" for model in (one, other)]
    found: dict[str, Any] = {"kinds": kinds}
    match one, other:
        case LinearModel(), LinearModel():
            weights = {
                "member_weights": [one.member_weights.tolist(), other.member_weights.tolist()],
                "job_weights": [one.job_weights.tolist(), other.job_weights.tolist()],
            }
            found |= {"intercepts": [one.intercept, other.intercept], **weights}
            found["same"] = all(first == second for first, second in [found["intercepts"], *weights.values()])
        case OnnxModel(), OnnxModel():
            found["same"] = one.function.content == other.function.content
        case _:
            found["same"] = False
    return found


def _same_scales(one: TrainedModel, other: TrainedModel) -> bool:
    return one.member_features.is_like(other.member_features) and one.job_features.is_like(other.job_features)


def _precisions(one: Prior, other: Prior, dimension: int) -> list[list[float]]:
    """Return the precisions of both, the intercept's first."""

    def of(prior: Prior) -> Floats:
        return np.asarray(prior.scale(dimension) ** -2.0)

    return [of(one).tolist(), of(other).tolist()]


def _curves(one: SilenceCurves | None, other: SilenceCurves | None) -> dict[str, Any]:
    """Return the share of positives that are answered by some ages where nobody else of the job is."""
    return {
        "levels": [None if curves is None else max(1, len(curves.activities)) for curves in (one, other)],
        "answered_by_day": {
            str(day): [None if curves is None else curves.share(day * DAY, 0) for curves in (one, other)]
            for day in _AGES_IN_DAYS
        },
    }


def _differing(one: dict[str, Any], other: dict[str, Any]) -> dict[str, list[Any]]:
    names = sorted({*one, *other})
    return {name: [one.get(name), other.get(name)] for name in names if one.get(name) != other.get(name)}


def _held_out(description: Description) -> dict[str, Any] | None:
    return None if description.held_out is None else description.held_out.model_dump(mode="json")
