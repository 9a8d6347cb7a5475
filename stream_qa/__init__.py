"""A near-real-time learner for two-sided marketplaces: Kafka events in, versioned coefficients out."""

from importlib.metadata import version

__version__ = version("stream-qa")
