"""What the numbers of a feature vector are: their schema, and the scale on which they are learned."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson

from stream_qa.events import wire
from stream_qa.labels.life_cycle import KnownApplication
from stream_qa.learning.arrays import Floats, within


class FeatureSchema(NamedTuple):
    """The name of a feature schema and how many features it gives each side."""

    name: str
    member_features: int
    job_features: int

    def __str__(self) -> str:
        return f"{self.name} ({self.member_features} of the member, {self.job_features} of the job)"

    @classmethod
    def of(cls, application: KnownApplication) -> "FeatureSchema":
        """Return the schema that ``application`` claims and the lengths that it has."""
        member_features, job_features = wire.length(application.member_features), wire.length(application.job_features)
        return cls(application.feature_schema, member_features, job_features)

    def fits(self, application: KnownApplication) -> bool:
        """Return whether this is the schema of ``application``."""
        return (
            application.feature_schema == self.name
            and wire.length(application.member_features) == self.member_features
            and wire.length(application.job_features) == self.job_features
        )

    def pack(self) -> bytes:
        """Return the table's record of the schema."""
        return orjson.dumps(list(self))

    @classmethod
    def unpack(cls, record: bytes) -> "FeatureSchema":
        """Return what :meth:`pack` packed."""
        return cls(*orjson.loads(record))


@dataclass(frozen=True, eq=False)
class Standardisation:
    """Puts features on one scale: minus the mean, over the standard deviation, clipped.

    By default they stay as they are, however many there are, but for the bound.
    """

    bound: float = 20.0
    """Standardised features are clipped to plus and minus this."""
    means: Floats | float = 0.0
    """Shape ``(k,)``."""
    scales: Floats | float = 1.0
    """Shape ``(k,)``, above 0."""

    @property
    def count(self) -> int | None:
        """How many features it is for; ``None`` for any number."""
        return len(self.means) if isinstance(self.means, np.ndarray) else None

    def is_like(self, other: "Standardisation") -> bool:
        """Return whether both make the same of every feature; one for any number of them is like one for some."""
        if None not in (self.count, other.count) and self.count != other.count:
            return False
        numbers = ((self.bound, other.bound), (self.means, other.means), (self.scales, other.scales))
        return all(bool(np.equal(one, another).all()) for one, another in numbers)

    @classmethod
    def of(cls, features: Floats, bound: float) -> "Standardisation":
        """Return that of known ``features``, shape ``(n, k)``, ``n`` above 0; what never changes keeps its scale."""
        deviations = features.std(axis=0)
        return cls(bound, features.mean(axis=0), np.where(deviations > 0, deviations, 1.0))

    def apply(self, features: Floats) -> Floats:
        """Return the standardised features of raw ones, shape ``(n, k)`` both; finite for all that is finite."""
        # What is too large for a float64 is beyond the bound.
        with np.errstate(over="ignore"):
            return within((features - self.means) / self.scales, self.bound)
