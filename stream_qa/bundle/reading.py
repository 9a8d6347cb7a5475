"""Reads a bundle, and refuses one that is damaged or contradicts itself."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from stream_qa.bundle import random_effects
from stream_qa.bundle.files import MANIFEST, Digest, FileName, GlobalFile, Manifest, PriorsFile, Side
from stream_qa.bundle.random_effects import RandomEffects
from stream_qa.errors import BundleError
from stream_qa.labels.curves import SilenceCurves
from stream_qa.learning import FeatureSchema, LinearModel, Prior, Standardisation

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Bundle:
    """What workers take from a bundle."""

    directory: Path
    manifest: Manifest
    global_model: LinearModel
    """Knows how features are standardised, for the random effects as well."""
    member_prior: Prior
    """Over the job's features."""
    job_prior: Prior
    """Over the member's features."""
    curves: SilenceCurves | None
    """``None`` where the log had too few positives."""

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
    manifest = _parse(directory / MANIFEST, content, Manifest)
    contents = {name: _checked(directory / name, digest) for name, digest in manifest.files.items()}
    global_file = _parse(directory / FileName.GLOBAL, contents[FileName.GLOBAL], GlobalFile)
    priors = _parse(directory / FileName.PRIORS, contents[FileName.PRIORS], PriorsFile)
    curves = contents.get(FileName.CURVES)
    schema = manifest.description.feature_schema
    for what, has, should in (
        ("global weights of member features", len(global_file.member.weights), schema.member_features),
        ("global weights of job features", len(global_file.job.weights), schema.job_features),
        ("prior precisions of members", len(priors.member), 1 + schema.job_features),
        ("prior precisions of jobs", len(priors.job), 1 + schema.member_features),
    ):
        if has != should:
            raise BundleError(f"the model bundle {directory} has {has} {what}, where its features ask for {should}")
    return Bundle(
        directory=directory,
        manifest=manifest,
        global_model=LinearModel(
            intercept=global_file.intercept,
            member_weights=np.array(global_file.member.weights),
            job_weights=np.array(global_file.job.weights),
            member_features=_standardisation(global_file.member, global_file.bound),
            job_features=_standardisation(global_file.job, global_file.bound),
            version=manifest.version,
        ),
        member_prior=_prior(priors.member),
        job_prior=_prior(priors.job),
        curves=None if curves is None else SilenceCurves.from_json(curves),
    )


def load_random_effects(bundle: Bundle) -> RandomEffects:
    """Read the coefficients of a bundle's entities.

    Raises
    ------
    BundleError
        The file cannot be read, or its coefficients are not those of the bundle's features.
    """
    schema = bundle.feature_schema
    return random_effects.read(
        bundle.directory / FileName.RANDOM_EFFECTS, 1 + schema.job_features, 1 + schema.member_features
    )


def _standardisation(side: Side, bound: float) -> Standardisation:
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


def _parse(path: Path, content: bytes, form: type[M]) -> M:
    try:
        return form.model_validate_json(content)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in detail["loc"]) or "the file"
        raise BundleError(f"{path} is wrong at {place}: {detail['msg']}") from None
