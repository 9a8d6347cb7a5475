"""From what is known of a log at a moment to all that a bundle holds."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from stream_qa.bundle import (
    Bundle,
    Description,
    GlobalFile,
    LinearFile,
    Manifest,
    OnnxFile,
    PriorsFile,
    ProfileFile,
    RandomEffects,
    Scale,
    SchemaFile,
    Side,
    write_bundle,
)
from stream_qa.bundle.profiles import profile_file
from stream_qa.coefficients import FeatureNames
from stream_qa.durations import DAY
from stream_qa.errors import TrainingError
from stream_qa.labels import LabelPolicy
from stream_qa.labels.curves import SilenceCurves
from stream_qa.learning import LinearModel, OnnxModel, Standardisation
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.profile import SideProfile
from stream_qa.learning.starting import EntityCoefficients
from stream_qa.training.curves import fit_curves
from stream_qa.training.held_out import hold_out
from stream_qa.training.history import NEVER, History
from stream_qa.training.joint_fit import FittedEffect, HyperParameters, OnnxFit, Scales, fit_jointly
from stream_qa.training.onnx_models import made_up_checks
from stream_qa.training.rows import Entities, Rows

Advance = Callable[[str], object]
"""Is told, after every sweep, which fit it was of."""


@dataclass(frozen=True)
class Training:
    """What a training has made."""

    description: Description
    global_file: GlobalFile
    onnx: bytes | None
    """The file to which an ``OnnxFile`` belongs; ``None`` where the global model is linear."""
    priors: PriorsFile
    curves: SilenceCurves | None
    effects: RandomEffects
    profile: ProfileFile
    """What the features looked like."""
    answered_by_day: list[float]
    """The share of positives whose first positive engagement came within 1, 2, 3 ... days."""

    def write(self, directory: Path) -> Manifest:
        """Write it as a bundle; return the bundle's manifest.

        Raises
        ------
        BundleError
            The directory exists or cannot be written.
        """
        return write_bundle(
            directory,
            description=self.description,
            global_file=self.global_file,
            onnx=self.onnx,
            priors=self.priors,
            curves=self.curves,
            effects=self.effects,
            profile=self.profile,
        )


def train(
    history: History,
    *,
    policy: LabelPolicy,
    until: int,
    parameters: HyperParameters | None = None,
    advance: Advance = lambda _fit: None,
    onnx_fit: OnnxFit | None = None,
    scales: Scales | None = None,
    kept: Bundle | None = None,
    names: FeatureNames | None = None,
) -> Training:
    """Train on what ``history`` says at ``until`` (ms) by ``policy``.

    Parameters
    ----------
    history
        What is known.
    policy
        The label policy.
    until
        Nothing that happened then or later (ms) is in ``history``.
    parameters
        Of the fit; ``None`` for the default.
    advance
        Is told of every sweep.
    onnx_fit
        Gives the global model; ``None`` for logistic regression.
    scales
        How features are standardised; ``None`` for by their own means and deviations, or those of ``kept``.
    kept
        A bundle whose global model and feature scales stay as they are.
    names
        What the features are called where data later look otherwise; ``None`` for by their numbers.

    Raises
    ------
    TrainingError
        No application's window is over, all final labels are alike, or a feature is too large.
    FeatureNamesError
        There are not as many names as features, or two are the same.
    """
    parameters = parameters or HyperParameters()
    model = None if kept is None else kept.global_model
    if model is not None:
        scales = Scales(model.member_features, model.job_features)
    if scales is not None:
        parameters = replace(parameters, feature_bound=scales.member.bound)
    rows = history.rows.select(history.matured)
    if not len(rows):
        raise TrainingError(f"no application is older than the window of {policy.window_days:g} days")
    if len(np.unique(rows.value)) == 1:
        raise TrainingError(f"all {len(rows)} final labels are {'positive' if rows.value[0] else 'negative'}")
    profile = _profile(rows, names or FeatureNames())
    # Many small matrices: threads that share one would only wait for each other, on a busy machine for long.
    with threadpool_limits(1):
        held_out = hold_out(
            history,
            policy.window,
            parameters,
            lambda: advance("held-out fit"),
            onnx_fit=onnx_fit,
            scales=scales,
            kept=model,
        )
        fit = fit_jointly(rows, parameters, lambda: advance("fit"), onnx_fit=onnx_fit, scales=scales, kept=model)
    curves = fit_curves(history)
    applied_at, happened_at = history.applied_at[history.matured], history.happened_at[history.matured]
    schema = history.schema
    description = Description(
        until=until,
        global_until=until if kept is None else kept.manifest.description.global_model_until,
        first_applied_at=int(applied_at.min()),
        last_applied_at=int(applied_at.max()),
        applications=len(rows),
        positives=int(rows.value.sum()),
        members=len(rows.members.ids),
        jobs=len(rows.jobs.ids),
        feature_schema=SchemaFile(
            name=schema.name, member_features=schema.member_features, job_features=schema.job_features
        ),
        policy=_sorted(policy),
        hyper_parameters=asdict(parameters),
        sweeps=fit.sweeps,
        converged=fit.converged,
        curves=curves.reason,
        held_out=held_out,
    )
    global_file, onnx = _global_file(fit.global_model, rows)
    return Training(
        description=description,
        global_file=global_file,
        onnx=onnx,
        priors=PriorsFile(member=fit.member.precisions.tolist(), job=fit.job.precisions.tolist()),
        curves=curves.curves,
        effects=RandomEffects(
            _entities(rows.members, fit.member, happened_at), _entities(rows.jobs, fit.job, happened_at)
        ),
        profile=profile,
        answered_by_day=_answered_by_day(history, policy),
    )


def _profile(rows: Rows, names: FeatureNames) -> ProfileFile:
    """Return what the features of the training looked like."""
    return profile_file(
        SideProfile.of(rows.member_features, names.of_members(rows.member_features.shape[1])),
        SideProfile.of(rows.job_features, names.of_jobs(rows.job_features.shape[1])),
    )


def _sorted(policy: LabelPolicy) -> dict[str, object]:
    """Return a policy's content; sets sorted, so that the same policy is the same text."""
    content = policy.model_dump(mode="json")
    return {name: sorted(value) if isinstance(value, list) else value for name, value in content.items()}


def _global_file(model: LinearModel | OnnxModel, rows: Rows) -> tuple[GlobalFile, bytes | None]:
    member, job, bound = model.member_features, model.job_features, model.member_features.bound
    match model:
        case OnnxModel():
            checks = made_up_checks(model, rows)
            return OnnxFile(
                base_log_odds=model.base_log_odds, member=_scale(member), job=_scale(job), bound=bound, checks=checks
            ), model.function.content
        case LinearModel():
            return LinearFile(
                intercept=model.intercept,
                member=_side(model.member_weights, member),
                job=_side(model.job_weights, job),
                bound=bound,
            ), None


def _scale(features: Standardisation) -> Scale:
    return Scale(means=np.asarray(features.means).tolist(), scales=np.asarray(features.scales).tolist())


def _side(weights: Floats, features: Standardisation) -> Side:
    return Side(weights=weights.tolist(), **_scale(features).model_dump())


def _entities(entities: Entities, fitted: FittedEffect, happened_at: Integers) -> EntityCoefficients:
    newest_at = np.zeros(len(entities.ids), np.int64)
    np.maximum.at(newest_at, entities.of, happened_at)
    return EntityCoefficients(entities.ids, fitted.coefficients, np.bincount(entities.of), newest_at)


def _answered_by_day(history: History, policy: LabelPolicy) -> list[float]:
    positive = history.matured & (history.rows.value == 1) & (history.agreed_at != NEVER)
    if not positive.any():
        return []
    after = (history.agreed_at - history.applied_at)[positive]
    days = np.arange(1, int(np.ceil(policy.window / DAY)) + 1)
    return [float((after <= day * DAY).mean()) for day in days]
