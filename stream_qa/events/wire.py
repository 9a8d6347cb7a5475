"""The messages as the stages read and write them: the schemas' fields, with feature vectors still as JSON text.

A stage reads three times as fast by these as by the schemas, and a vector that it only passes on is never parsed. What
is valid is decided by the schemas of record; ``decoding.py`` asks them wherever these refuse a message.

The stages make them of positions, in the order of the fields: naming each would take longer than writing the JSON.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from stream_qa.events.coefficients import EntityKind
from stream_qa.events.fields import (
    Count,
    EventTime,
    Features,
    Identifier,
    LogOdds,
    ModelNumber,
    Number,
    Origin,
    Revision,
    Weight,
    within_id_bytes,
)
from stream_qa.events.label import Value

_parse = msgspec.json.Decoder(Features).decode
_parse_many = msgspec.json.Decoder(list[Features]).decode

encode = msgspec.json.Encoder().encode
"""Return a message's JSON."""


def vector(text: Raw | bytes) -> list[float]:
    """Return the numbers of a feature vector.

    Raises
    ------
    msgspec.MsgspecError
        The text is no vector of finite numbers, or a too long one.
    """
    return _parse(text)


def vectors(texts: Sequence[Raw | bytes]) -> list[list[float]]:
    """Return the numbers of many feature vectors.

    Raises
    ------
    msgspec.MsgspecError
        One of them is none; which one, ``vector`` says of each.
    """
    return _parse_many(b"[" + b",".join(texts) + b"]")


def length(text: bytes) -> int:
    """Return how many numbers a feature vector has that is known to be valid."""
    return text.count(b",") + 1 if text.strip(b"[] \t\r\n") else 0


class _AppliedAt(Struct, gc=False):
    time: EventTime = msgspec.field(default=0, name="applied_at")


class _EngagedAt(Struct, gc=False):
    time: EventTime = msgspec.field(default=0, name="engaged_at")


class _ReachedAt(Struct, gc=False):
    time: EventTime = msgspec.field(default=0, name="reached_at")


TimeField = Literal["applied_at", "engaged_at", "reached_at"]
"""The field that says when an application, an engagement or a tick happened."""

_times: dict[TimeField, Callable[[bytes], _AppliedAt | _EngagedAt | _ReachedAt]] = {
    "applied_at": msgspec.json.Decoder(_AppliedAt).decode,
    "engaged_at": msgspec.json.Decoder(_EngagedAt).decode,
    "reached_at": msgspec.json.Decoder(_ReachedAt).decode,
}


def event_time(value: bytes | None, field: TimeField) -> int:
    """Return when an input's event happened (ms), without judging it; 0 where its field does not say."""
    try:
        return _times[field](value or b"").time
    except (msgspec.MsgspecError, RecursionError):
        return 0


class Application(Struct, frozen=True, gc=False):
    """A member applies to a job. Checked when read: it comes from outside."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    applied_at: EventTime
    feature_schema: Identifier
    member_features: Raw
    job_features: Raw
    global_log_odds: Number | None = None

    def __post_init__(self) -> None:
        """Check what the types do not say; msgspec turns the errors into its own."""
        for identifier in (self.application_id, self.member_id, self.job_id, self.feature_schema):
            within_id_bytes(identifier)
        _parse(self.member_features)
        _parse(self.job_features)


class Engagement(Struct, frozen=True, gc=False):
    """The other side reacts to an application. Checked when read: it comes from outside."""

    application_id: Identifier
    job_id: Identifier
    kind: Identifier
    engaged_at: EventTime
    engagement_id: Identifier | None = None

    def __post_init__(self) -> None:
        """Check what the types do not say; msgspec turns the errors into its own."""
        for identifier in (self.application_id, self.job_id, self.kind, self.engagement_id or ""):
            within_id_bytes(identifier)


class Tick(Struct, frozen=True, gc=False):
    """Event time moving on where inputs are quiet."""

    partition: Origin
    reached_at: EventTime
    applications: bool
    engagements: bool


class Label(Struct, frozen=True, gc=False):
    """One revision of an application's label."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    revision: Revision
    value: Value | None
    weight: Weight
    final: bool
    reason: str
    happened_at: EventTime
    applied_at: EventTime
    feature_schema: Identifier
    member_features: Raw
    job_features: Raw
    global_log_odds: LogOdds
    job_log_odds: LogOdds
    job_version: Count
    origin: Origin
    watermark: EventTime
    model_version: Identifier = "none"
    model_number: ModelNumber = 0
    global_brought: bool = False


class Example(Struct, frozen=True, gc=False):
    """One revision of an application's label, as the job's learner needs it."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    revision: Revision
    value: Value | None
    weight: Weight
    final: bool
    happened_at: EventTime
    applied_at: EventTime
    feature_schema: Identifier
    member_features: Raw
    global_log_odds: LogOdds
    member_log_odds: LogOdds
    member_version: Count
    origin: Origin
    watermark: EventTime
    model_version: Identifier = "none"
    model_number: ModelNumber = 0


class Score(Struct, frozen=True, gc=False):
    """The personalised score of an application when it arrived."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    applied_at: EventTime
    global_log_odds: LogOdds
    member_log_odds: LogOdds
    job_log_odds: LogOdds
    log_odds: LogOdds
    probability: float
    model_version: Identifier
    member_version: Count
    job_version: Count


class Notification(Struct, frozen=True, gc=False):
    """An application whose match is very high."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    applied_at: EventTime
    probability: float
    global_log_odds: LogOdds
    member_log_odds: LogOdds
    job_log_odds: LogOdds
    model_version: Identifier
    number: int
    explanation: str


class Delta(Struct, frozen=True, gc=False):
    """The change of one entity's coefficients, packed as little-endian float64."""

    entity_kind: EntityKind
    entity_id: Identifier
    base_version: Count
    version: Count
    change: bytes
    model_version: Identifier
    labels: Count
    newest_at: EventTime


class Snapshot(Struct, frozen=True, gc=False):
    """One entity's full coefficients, packed as little-endian float64."""

    entity_kind: EntityKind
    entity_id: Identifier
    version: Count
    coefficients: bytes
    model_version: Identifier
    labels: Count
    newest_at: EventTime
