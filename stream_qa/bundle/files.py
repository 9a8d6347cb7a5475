"""What the JSON files of a bundle say. All numbers are finite; unknown fields are refused."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stream_qa.events.fields import FeatureBound, Identifier, Precision

MANIFEST = "manifest.json"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Moment = Annotated[int, Field(ge=0, description="milliseconds since the epoch, UTC")]


class FileName(StrEnum):
    """The files that a manifest names."""

    GLOBAL = "global.json"
    ONNX = "global.onnx"
    """Missing where the global model is linear."""
    PRIORS = "priors.json"
    CURVES = "curves.json"
    """Missing where there were too few positives for curves."""
    RANDOM_EFFECTS = "random_effects.npz"
    PROFILE = "profile.json"
    """Missing in bundles of before there was one: then nothing is compared with the training's data."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scale(_File):
    """How one side's features are standardised, lists of the same length."""

    means: list[Finite]
    scales: list[Positive]

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        if len(self.means) != len(self.scales):
            raise ValueError("means and scales are not equally many")
        return self


class Side(Scale):
    """The linear model's part of one side's features."""

    weights: list[Finite]
    """Of standardised features."""

    @model_validator(mode="after")
    def _as_many_weights(self) -> Self:
        if len(self.weights) != len(self.means):
            raise ValueError("weights and means are not equally many")
        return self


class LinearFile(_File):
    """``global.json``: log-odds = intercept + weights · clip((features - means) / scales, -bound, bound)."""

    kind: Literal["linear"] = "linear"
    intercept: Finite
    member: Side
    job: Side
    bound: FeatureBound


class Checks(_File):
    """Made-up applications and what a model said of them when it was trained, lists of the same length."""

    member_features: list[list[Finite]]
    job_features: list[list[Finite]]
    log_odds: Annotated[list[Finite], Field(min_length=1)]

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        if not len(self.member_features) == len(self.job_features) == len(self.log_odds):
            raise ValueError("member features, job features and log-odds are not equally many")
        return self


class OnnxFile(_File):
    """``global.json``: log-odds = what ``global.onnx`` says of raw features; the scales are those of the effects."""

    kind: Literal["onnx"] = "onnx"
    base_log_odds: Finite
    """Where the model has no finite number."""
    member: Scale
    job: Scale
    bound: FeatureBound
    checks: Checks
    """The model must say so again wherever the bundle is read."""


GlobalFile = LinearFile | OnnxFile


class PriorsFile(_File):
    """``priors.json``: the precisions of each random effect's coefficients, the intercept first."""

    member: Annotated[list[Precision], Field(min_length=1)]
    """Over the job's features."""
    job: Annotated[list[Precision], Field(min_length=1)]
    """Over the member's features."""


class FeatureProfile(_File):
    """What the values of a feature were in training."""

    name: Annotated[str, Field(min_length=1)]
    least: Finite
    most: Finite
    edges: list[Finite]
    """Values between these, never falling."""
    at_most: list[Share]
    """The share of all values that are at most each edge."""
    below: list[Share]
    """The share of those that are below it."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for values in ([self.least, *self.edges, self.most], self.at_most, self.below):
            if values != sorted(values):
                raise ValueError("edges or shares are out of order")
        if not len(self.edges) == len(self.at_most) == len(self.below):
            raise ValueError("edges and shares are not equally many")
        return self


class ProfileFile(_File):
    """``profile.json``: what the training's features looked like, in their order; all have equally many edges."""

    member: list[FeatureProfile]
    job: list[FeatureProfile]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for side in (self.member, self.job):
            if len({feature.name for feature in side}) < len(side):
                raise ValueError("two features have one name")
            if len({len(feature.edges) for feature in side}) > 1:
                raise ValueError("some features have more edges than others")
        return self


class Quality(_File):
    """How good scores are."""

    auc: Annotated[float, Field(ge=0, le=1)] | None
    """``None`` where all labels are alike."""
    log_loss: Annotated[float, Field(ge=0)]


class HeldOut(_File):
    """How a fit on what was known before the last weeks scores the applications of the last weeks."""

    since: Moment
    until: Moment
    """Of the times at which the applications were sent."""
    applications: Whole
    positives: Whole
    global_only: Quality
    personalised: Quality
    """Global model and both random effects, as they stood when these weeks began."""


class SchemaFile(_File):
    """The features that the bundle is for."""

    name: Identifier
    member_features: Whole
    job_features: Whole


class Description(_File):
    """Where a bundle comes from."""

    until: Moment
    """Nothing that happened then or later was looked at."""
    global_until: Moment | None = None
    """The same for the global model, which may be of an earlier training; ``None``, in older bundles, for ``until``."""
    first_applied_at: Moment
    last_applied_at: Moment
    applications: Whole
    """With final labels: those that were trained on."""
    positives: Whole
    members: Whole
    jobs: Whole
    feature_schema: SchemaFile
    policy: dict[str, Any]
    """The label policy."""
    hyper_parameters: dict[str, float | int]
    sweeps: Whole
    converged: bool
    """Whether nothing moved any more in the last sweep."""
    curves: str
    """In words."""
    held_out: HeldOut | None
    """``None`` where the log is too short."""

    @property
    def global_model_until(self) -> int:
        """Until when (ms) the global model was trained."""
        return self.until if self.global_until is None else self.global_until


class Digest(_File):
    """What a file must be."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Whole


class Manifest(_File):
    """``manifest.json``."""

    format: Literal[1] = 1
    version: Identifier
    """Follows from everything else in the bundle: the same training gives the same."""
    description: Description
    files: dict[FileName, Digest]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := set(FileName) - {FileName.CURVES, FileName.ONNX, FileName.PROFILE} - set(self.files):
            raise ValueError(f"it names no {min(missing)}")
        return self
