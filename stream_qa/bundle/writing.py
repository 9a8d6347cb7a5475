"""Writes a bundle."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from stream_qa.bundle import random_effects
from stream_qa.bundle.files import (
    MANIFEST,
    Description,
    Digest,
    FileName,
    GlobalFile,
    Manifest,
    PriorsFile,
    ProfileFile,
)
from stream_qa.bundle.random_effects import RandomEffects
from stream_qa.errors import BundleError
from stream_qa.labels.curves import SilenceCurves

_VERSION_CHARACTERS = 12


def write_bundle(
    directory: Path,
    *,
    description: Description,
    global_file: GlobalFile,
    onnx: bytes | None = None,
    priors: PriorsFile,
    curves: SilenceCurves | None,
    effects: RandomEffects,
    profile: ProfileFile | None = None,
) -> Manifest:
    """Write a bundle into a new directory, the manifest last; return the manifest.

    Parameters
    ----------
    directory
        Where to.
    description, global_file, priors, curves, effects
        What its files say.
    onnx
        The file to which an :class:`OnnxFile` belongs; ``None`` where the global model is linear.
    profile
        What the training's features looked like; ``None`` where that is not known.

    Raises
    ------
    BundleError
        The directory exists or cannot be written.
    """
    contents = {
        FileName.GLOBAL: global_file.model_dump_json(indent=2).encode(),
        FileName.PRIORS: priors.model_dump_json(indent=2).encode(),
        FileName.RANDOM_EFFECTS: random_effects.pack(effects),
    }
    if onnx is not None:
        contents[FileName.ONNX] = onnx
    if curves is not None:
        contents[FileName.CURVES] = curves.to_json()
    if profile is not None:
        contents[FileName.PROFILE] = profile.model_dump_json(indent=2).encode()
    files = {
        name: Digest(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in sorted(contents.items())
    }
    manifest = Manifest(version=_version(description, files), description=description, files=files)
    try:
        directory.mkdir(parents=True)
        for name, content in contents.items():
            (directory / name).write_bytes(content)
        (directory / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"the model bundle {directory} cannot be written: {error}") from error
    return manifest


def _version(description: Description, files: dict[FileName, Digest]) -> str:
    """Return the day until which it was trained, and what stands for all that is in it."""
    everything = description.model_dump_json() + "".join(digest.sha256 for digest in files.values())
    day = datetime.fromtimestamp(description.until / 1000, UTC).date()
    return f"{day.isoformat()}-{hashlib.sha256(everything.encode()).hexdigest()[:_VERSION_CHARACTERS]}"
