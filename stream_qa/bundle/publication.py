"""What the topics say of a bundle: where it is, and that it is this one."""

from hashlib import sha256
from pathlib import Path

from stream_qa.bundle.files import MANIFEST
from stream_qa.bundle.reading import Bundle, load_bundle
from stream_qa.errors import BundleError
from stream_qa.events import PublishedModel


def published_model(bundle: Bundle, location: Path | None = None, withdraws: str | None = None) -> PublishedModel:
    """Return what is published of a bundle.

    Parameters
    ----------
    bundle
        The bundle.
    location
        Its directory as workers see it; ``None`` for where it is here.
    withdraws
        The version in whose place it is put because that was no good.
    """
    return PublishedModel(
        version=bundle.version,
        feature_schema=str(bundle.feature_schema),
        location=str(location or bundle.directory.resolve()),
        sha256=sha256((bundle.directory / MANIFEST).read_bytes()).hexdigest(),
        withdraws=withdraws,
    )


def load_published(model: PublishedModel) -> Bundle:
    """Read a bundle that was published.

    Raises
    ------
    BundleError
        It cannot be used, or is another one.
    """
    bundle = load_bundle(Path(model.location), model.sha256)
    if bundle.version != model.version:
        raise BundleError(f"{model.location} is model {bundle.version}, and {model.version} was published")
    return bundle
