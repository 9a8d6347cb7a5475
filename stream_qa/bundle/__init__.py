"""The model bundle: a directory with all that is learned rarely. Nothing in it can run code."""

from stream_qa.bundle.difference import difference
from stream_qa.bundle.files import (
    MANIFEST,
    Checks,
    Description,
    FeatureProfile,
    GlobalFile,
    HeldOut,
    LinearFile,
    Manifest,
    OnnxFile,
    PriorsFile,
    ProfileFile,
    Quality,
    Scale,
    SchemaFile,
    Side,
)
from stream_qa.bundle.publication import load_published, published_model
from stream_qa.bundle.random_effects import RandomEffects
from stream_qa.bundle.reading import Bundle, load_bundle, load_random_effects
from stream_qa.bundle.writing import write_bundle

__all__ = [
    "MANIFEST",
    "Bundle",
    "Checks",
    "Description",
    "FeatureProfile",
    "GlobalFile",
    "HeldOut",
    "LinearFile",
    "Manifest",
    "OnnxFile",
    "PriorsFile",
    "ProfileFile",
    "Quality",
    "RandomEffects",
    "Scale",
    "SchemaFile",
    "Side",
    "difference",
    "load_bundle",
    "load_published",
    "load_random_effects",
    "published_model",
    "write_bundle",
]
