"""What the numbers of a feature vector are: their schema."""

from typing import NamedTuple

import orjson

from stream_qa.events import wire
from stream_qa.labels.life_cycle import KnownApplication


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
