"""Reads a bundle, and refuses one that is damaged or contradicts itself."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from stream_qa.bundle import random_effects
from stream_qa.bundle.files import (
    MANIFEST,
    Digest,
    FileName,
    GlobalFile,
    LinearFile,
    Manifest,
    OnnxFile,
    PriorsFile,
    ProfileFile,
    Scale,
    SchemaFile,
)
from stream_qa.bundle.profiles import profile_of
from stream_qa.bundle.random_effects import RandomEffects
from stream_qa.errors import BundleError, OnnxModelError
from stream_qa.labels.curves import SilenceCurves
from stream_qa.learning import (
    FeatureSchema,
    LinearModel,
    OnnxFunction,
    OnnxModel,
    Prior,
    Standardisation,
)
from stream_qa.learning.profile import Profile

M = TypeVar("M")

_GLOBAL: TypeAdapter[GlobalFile] = TypeAdapter(Annotated[GlobalFile, Field(discriminator="kind")])
_SAME = 1e-3
"""Log-odds that differ by no more are the same: another processor rounds otherwise."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """What workers take from a bundle."""

    directory: Path
    manifest: Manifest
    global_model: LinearModel | OnnxModel
    """Knows how features are standardised, for the random effects as well."""
    member_prior: Prior
    """Over the job's features."""
    job_prior: Prior
    """Over the member's features."""
    curves: SilenceCurves | None
    """``None`` where the log had too few positives."""
    profile: Profile | None
    """What the training's data looked like; ``None`` in bundles of before there was one."""

    @property
    def version(self) -> str:
        """The name by which everything that is scored or learned with it says so."""
        return self.manifest.version

    @property
    def feature_schema(self) -> FeatureSchema:
        """What applications must bring."""
        schema = self.manifest.description.feature_schema
        return FeatureSchema(schema.name, schema.member_features, schema.job_features)


def load_bundle(directory: Path, sha256: str | None = None) -> Bundle:
    """Read a bundle; the coefficients of its entities are only checked for damage.

    Parameters
    ----------
    directory
        Where it is.
    sha256
        That of its manifest, which has those of all other files; ``None`` for any.

    Raises
    ------
    BundleError
        A file is missing, damaged or of another format, or files do not belong together.
    """
    content = _content(directory / MANIFEST)
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise BundleError(f"{directory / MANIFEST} is not the one that was published: it was changed or damaged")
    manifest = _parse(directory / MANIFEST, content, TypeAdapter(Manifest))
    contents = {name: _checked(directory / name, digest) for name, digest in manifest.files.items()}
    global_file = _parse(directory / FileName.GLOBAL, contents[FileName.GLOBAL], _GLOBAL)
    priors = _parse(directory / FileName.PRIORS, contents[FileName.PRIORS], TypeAdapter(PriorsFile))
    curves = SilenceCurves.from_json(contents[FileName.CURVES]) if FileName.CURVES in contents else None
    profile = None
    if FileName.PROFILE in contents:
        file = _parse(directory / FileName.PROFILE, contents[FileName.PROFILE], TypeAdapter(ProfileFile))
        profile = profile_of(file, manifest.description, curves)
    schema = manifest.description.feature_schema
    for what, has, should in (
        ("scales of member features", len(global_file.member.scales), schema.member_features),
        ("scales of job features", len(global_file.job.scales), schema.job_features),
        ("prior precisions of members", len(priors.member), 1 + schema.job_features),
        ("prior precisions of jobs", len(priors.job), 1 + schema.member_features),
        *_profiled(profile, schema),
    ):
        if has != should:
            raise BundleError(f"the model bundle {directory} has {has} {what}, where its features ask for {should}")
    return Bundle(
        directory=directory,
        manifest=manifest,
        global_model=_global_model(directory, global_file, contents.get(FileName.ONNX), manifest.version),
        member_prior=_prior(priors.member),
        job_prior=_prior(priors.job),
        curves=curves,
        profile=profile,
    )


def load_random_effects(bundle: Bundle) -> RandomEffects:
    """Read the coefficients of a bundle's entities.

    Raises
    ------
    BundleError
        The file is missing or damaged, or its coefficients are not those of entities with the bundle's features.
    """
    schema, name = bundle.feature_schema, FileName.RANDOM_EFFECTS
    content = _checked(bundle.directory / name, bundle.manifest.files[name])
    try:
        return random_effects.unpack(content, 1 + schema.job_features, 1 + schema.member_features)
    except BundleError as error:
        raise BundleError(f"{bundle.directory / name}: {error}") from error


def _profiled(profile: Profile | None, schema: SchemaFile) -> list[tuple[str, int, int]]:
    """Return how many features a profile has of each side, and should have."""
    if profile is None:
        return []
    return [
        ("profiles of member features", len(profile.member.names), schema.member_features),
        ("profiles of job features", len(profile.job.names), schema.job_features),
    ]


def _global_model(directory: Path, file: GlobalFile, onnx: bytes | None, version: str) -> LinearModel | OnnxModel:
    member_features, job_features = (_standardisation(side, file.bound) for side in (file.member, file.job))
    match file, onnx:
        case LinearFile(), None:
            return LinearModel(
                file.intercept,
                np.array(file.member.weights),
                np.array(file.job.weights),
                member_features,
                job_features,
                version,
            )
        case OnnxFile(), bytes():
            try:
                function = _checked_function(file, onnx)
            except OnnxModelError as error:
                raise OnnxModelError(f"{directory / FileName.ONNX}: {error}") from error
            return OnnxModel(function, file.base_log_odds, member_features, job_features, version)
        case _:
            has = "no" if onnx is None else "a"
            raise BundleError(f"the model bundle {directory} has {has} {FileName.ONNX}, and a {file.kind} global model")


def _checked_function(file: OnnxFile, onnx: bytes) -> OnnxFunction:
    checks = file.checks
    shapes = len(file.member.scales), len(file.job.scales)
    try:
        features = [
            np.array(rows).reshape(len(checks.log_odds), count)
            for rows, count in zip((checks.member_features, checks.job_features), shapes, strict=True)
        ]
    except ValueError as error:
        raise OnnxModelError(f"its checks are of other features: {error}") from error
    function = OnnxFunction(onnx, *shapes)
    if np.abs(function.checked_log_odds(*features) - checks.log_odds).max() > _SAME:
        raise OnnxModelError("it gives other scores here than when it was trained; another onnxruntime may be needed")
    return function


def _standardisation(side: Scale, bound: float) -> Standardisation:
    return Standardisation(bound, np.array(side.means), np.array(side.scales))


def _prior(precisions: list[float]) -> Prior:
    return Prior(precisions[0], np.array(precisions[1:]))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"the model bundle lacks {path}: {error}") from error


def _checked(path: Path, digest: Digest) -> bytes:
    content = _content(path)
    if len(content) != digest.bytes or hashlib.sha256(content).hexdigest() != digest.sha256:
        raise BundleError(f"{path} is not the file that the bundle's manifest names: it was changed or damaged")
    return content


def _parse(path: Path, content: bytes, form: TypeAdapter[M]) -> M:
    try:
        return form.validate_json(content)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in detail["loc"]) or "the file"
        raise BundleError(f"{path} is wrong at {place}: {detail['msg']}") from None
