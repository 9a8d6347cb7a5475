"""A candidate: a training on what was known before the days held back, that can take the incumbent's place."""

from collections.abc import Callable
from enum import StrEnum

import numpy as np

from stream_qa.bundle import Bundle
from stream_qa.coefficients import FeatureNames
from stream_qa.durations import DAY
from stream_qa.labels import LabelPolicy
from stream_qa.learning import LinearModel, Standardisation
from stream_qa.training.history import History
from stream_qa.training.joint_fit import Scales
from stream_qa.training.train import Training, train
from stream_qa.training.trees import check_trees, grow_trees


class GlobalChoice(StrEnum):
    """What a candidate's global model is, when it is trained anew."""

    LIKE_INCUMBENT = "like-incumbent"
    """Logistic regression, or the incumbent's ONNX file for ever: how that came about is not known."""
    LOGISTIC = "logistic"
    TREES = "trees"


def keeps_global(incumbent: Bundle | None, choice: GlobalChoice, until: int, after_days: float) -> bool:
    """Return whether the incumbent's global model is carried over.

    Parameters
    ----------
    incumbent
        The bundle in use; ``None`` without one.
    choice
        What is wanted.
    until
        The end of what the candidate is trained on (ms).
    after_days
        The age from which on a global model is trained anew.
    """
    if incumbent is None:
        return False
    is_linear = isinstance(incumbent.global_model, LinearModel)
    if choice is GlobalChoice.LIKE_INCUMBENT and not is_linear:
        return True
    if choice is not GlobalChoice.LIKE_INCUMBENT and is_linear != (choice is GlobalChoice.LOGISTIC):
        return False
    return until - incumbent.manifest.description.global_model_until < after_days * DAY


def trained(
    history: History,
    policy: LabelPolicy,
    incumbent: Bundle | None,
    *,
    until: int,
    choice: GlobalChoice,
    keep_global: bool,
    plain_bound: float,
    advance: Callable[[str], object] = lambda _fit: None,
) -> Training:
    """Return a training on ``history``, with the incumbent's feature scales.

    Parameters
    ----------
    history
        What was known at ``until``.
    policy
        The label policy.
    incumbent
        The bundle in use; ``None`` for a group without one, which only clips features.
    until
        The moment (ms).
    choice
        What the global model is.
    keep_global
        Whether it is the incumbent's.
    plain_bound
        Where features are clipped without an incumbent.
    advance
        Is told of every sweep, and of which fit.

    Raises
    ------
    TrainingError
        There is nothing to train on yet.
    MissingExtraError
        Trees are wanted and cannot be grown.
    """
    names = _names(incumbent)
    if keep_global and incumbent is not None:
        return train(history, policy=policy, until=until, kept=incumbent, names=names, advance=advance)
    if choice is GlobalChoice.TREES:
        check_trees()
    return train(
        history,
        policy=policy,
        until=until,
        scales=_scales(history, incumbent, plain_bound),
        onnx_fit=grow_trees if choice is GlobalChoice.TREES else None,
        names=names,
        advance=advance,
    )


def _scales(history: History, incumbent: Bundle | None, plain_bound: float) -> Scales:
    if incumbent is not None:
        return Scales(incumbent.global_model.member_features, incumbent.global_model.job_features)
    counts = (history.schema.member_features, history.schema.job_features)
    return Scales(*(Standardisation(plain_bound, np.zeros(count), np.ones(count)) for count in counts))


def _names(incumbent: Bundle | None) -> FeatureNames:
    """Return what the features are called in the incumbent."""
    profile = None if incumbent is None else incumbent.profile
    if profile is None:
        return FeatureNames()
    return FeatureNames(member_features=list(profile.member.names), job_features=list(profile.job.names))
