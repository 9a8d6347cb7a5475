"""What the topics say of a bundle: where it is, and that it is this one."""

from hashlib import sha256
from pathlib import Path

from stream_qa.bundle.files import MANIFEST
from stream_qa.bundle.reading import Bundle, load_bundle
from stream_qa.errors import BundleError
from stream_qa.events import PublishedModel


def publication_of(bundle: Bundle, location: Path | None = None) -> PublishedModel:
    """Return what is published of a bundle; ``location`` is its directory as others see it, where that is another."""
    return PublishedModel(
        version=bundle.version,
        feature_schema=str(bundle.feature_schema),
        location=str(location or bundle.directory.resolve()),
        sha256=sha256((bundle.directory / MANIFEST).read_bytes()).hexdigest(),
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
