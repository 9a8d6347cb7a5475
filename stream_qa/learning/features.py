"""What the numbers of a feature vector are: their schema."""

from typing import NamedTuple

import orjson

from stream_qa.events import Application


class FeatureSchema(NamedTuple):
    """The name of a feature schema and how many features it gives each side."""

    name: str
    member_features: int
    job_features: int

    def __str__(self) -> str:
        return f"{self.name} ({self.member_features} of the member, {self.job_features} of the job)"

    @classmethod
    def of(cls, application: Application) -> "FeatureSchema":
        """Return the schema that ``application`` claims and the lengths that it has."""
        return cls(application.feature_schema, len(application.member_features), len(application.job_features))

    def fits(self, application: Application) -> bool:
        """Return whether this is the schema of ``application``."""
        return (
            application.feature_schema == self.name
            and len(application.member_features) == self.member_features
            and len(application.job_features) == self.job_features
        )

    def pack(self) -> bytes:
        """Return the table's record of the schema."""
        return orjson.dumps(list(self))

    @classmethod
    def unpack(cls, record: bytes) -> "FeatureSchema":
        """Return what :meth:`pack` packed."""
        return cls(*orjson.loads(record))
