"""Events for tests: plain functions whose defaults make a valid event, so that a test names only what it is about."""

from collections.abc import Sequence

from msgspec import structs

from stream_qa.events import (
    Application,
    Decoder,
    Engagement,
    Example,
    Headers,
    Label,
    Record,
    Score,
    Tick,
    TopicNames,
    WireDecoder,
    wire,
)
from stream_qa.events.fields import Event

DAY = 86_400_000
"""Milliseconds of a day."""
START = 1_767_571_200_000
"""2026-01-05, a Monday, in milliseconds since the epoch: when applications are sent unless a test says otherwise."""


def application(
    application_id: str = "application-1",
    *,
    member_id: str = "member-1",
    job_id: str = "job-1",
    applied_at: int = START,
    feature_schema: str = "two-and-one",
    member_features: Sequence[float] = (0.5, -1.0),
    job_features: Sequence[float] = (2.0,),
    global_log_odds: float | None = None,
) -> Application:
    """Return an application."""
    return Application(
        application_id=application_id,
        member_id=member_id,
        job_id=job_id,
        applied_at=applied_at,
        feature_schema=feature_schema,
        member_features=list(member_features),
        job_features=list(job_features),
        global_log_odds=global_log_odds,
    )


def engagement(
    kind: str = "message",
    *,
    application_id: str = "application-1",
    job_id: str = "job-1",
    engaged_at: int = START + DAY,
    engagement_id: str | None = None,
) -> Engagement:
    """Return an engagement, by default a positive one a day after the default application."""
    return Engagement(
        application_id=application_id, job_id=job_id, kind=kind, engaged_at=engaged_at, engagement_id=engagement_id
    )


def label(
    application_id: str = "application-1",
    *,
    member_id: str = "member-1",
    job_id: str = "job-1",
    revision: int = 1,
    value: int | None = None,
    weight: float | None = None,
    final: bool = False,
    reason: str = "opened",
    happened_at: int = START,
    applied_at: int = START,
    feature_schema: str = "two-and-one",
    member_features: Sequence[float] = (0.5, -1.0),
    job_features: Sequence[float] = (2.0,),
    global_log_odds: float = 0.0,
    job_log_odds: float = 0.0,
    job_version: int = 0,
    origin: int = 0,
    watermark: int = START,
    model_version: str = "none",
    model_number: int = 0,
) -> Label:
    """Return a revision of a label, by default the first; the weight follows from the value unless it is given."""
    return Label.model_validate(
        {
            "application_id": application_id,
            "member_id": member_id,
            "job_id": job_id,
            "revision": revision,
            "value": value,
            "weight": (0.0 if value is None else 1.0) if weight is None else weight,
            "final": final,
            "reason": reason,
            "happened_at": happened_at,
            "applied_at": applied_at,
            "feature_schema": feature_schema,
            "member_features": list(member_features),
            "job_features": list(job_features),
            "global_log_odds": global_log_odds,
            "job_log_odds": job_log_odds,
            "job_version": job_version,
            "origin": origin,
            "watermark": watermark,
            "model_version": model_version,
            "model_number": model_number,
        }
    )


def example(
    application_id: str = "application-1",
    *,
    member_id: str = "member-1",
    job_id: str = "job-1",
    revision: int = 1,
    value: int | None = None,
    weight: float | None = None,
    final: bool = False,
    happened_at: int = START,
    applied_at: int = START,
    feature_schema: str = "two-and-one",
    member_features: Sequence[float] = (0.5, -1.0),
    global_log_odds: float = 0.0,
    member_log_odds: float = 0.0,
    member_version: int = 0,
    origin: int = 0,
    watermark: int = START,
    model_version: str = "none",
    model_number: int = 0,
) -> Example:
    """Return an example for the job's learner; the weight follows from the value unless it is given."""
    return Example.model_validate(
        {
            "application_id": application_id,
            "member_id": member_id,
            "job_id": job_id,
            "revision": revision,
            "value": value,
            "weight": (0.0 if value is None else 1.0) if weight is None else weight,
            "final": final,
            "happened_at": happened_at,
            "applied_at": applied_at,
            "feature_schema": feature_schema,
            "member_features": list(member_features),
            "global_log_odds": global_log_odds,
            "member_log_odds": member_log_odds,
            "member_version": member_version,
            "origin": origin,
            "watermark": watermark,
            "model_version": model_version,
            "model_number": model_number,
        }
    )


def score(
    application_id: str = "application-1",
    *,
    member_id: str = "member-1",
    job_id: str = "job-1",
    applied_at: int = START,
    global_log_odds: float = 0.0,
    member_log_odds: float = 0.5,
    job_log_odds: float = 1.5,
    probability: float = 0.9,
    member_version: int = 3,
    job_version: int = 4,
) -> Score:
    """Return a score, by default that of a very high match."""
    return Score(
        application_id=application_id,
        member_id=member_id,
        job_id=job_id,
        applied_at=applied_at,
        global_log_odds=global_log_odds,
        member_log_odds=member_log_odds,
        job_log_odds=job_log_odds,
        log_odds=global_log_odds + member_log_odds + job_log_odds,
        probability=probability,
        model_version="none",
        member_version=member_version,
        job_version=job_version,
    )


def read_score(event: Score) -> wire.Score:
    """Return a score as a stage has read it."""
    [read] = WireDecoder(wire.Score, Decoder(Score)).decode([event.model_dump_json().encode()])
    assert isinstance(read, wire.Score), read
    return read


def read_application(event: Application) -> wire.Application:
    """Return an application as a stage has read it."""
    [read] = WireDecoder(wire.Application, Decoder(Application)).decode([event.model_dump_json().encode()])
    assert isinstance(read, wire.Application), read
    return read


def read_engagement(event: Engagement) -> wire.Engagement:
    """Return an engagement as a stage has read it."""
    [read] = WireDecoder(wire.Engagement, Decoder(Engagement)).decode([event.model_dump_json().encode()])
    assert isinstance(read, wire.Engagement), read
    return read


def as_record(event: Event, offset: int = 0, *, partition: int = 0, headers: Headers = ()) -> Record:
    """Return an event as a record of its topic, under the key that producers give it.

    Raises
    ------
    TypeError
        No topic has such events as input.
    """
    topics = TopicNames()
    value = event.model_dump_json().encode()
    match event:
        case Application(job_id=key):
            topic = topics.applications
        case Engagement(job_id=key):
            topic = topics.engagements
        case Tick(partition=number):
            topic, key = topics.ticks, str(number)
        case Label(member_id=key):
            topic = topics.labels
        case Example(job_id=key):
            topic = topics.examples
        case Score(job_id=key):
            topic = topics.scores
        case _:
            raise TypeError(f"no stage reads {type(event).__name__}")
    return Record(topic, partition, offset, key.encode(), value, headers)


def as_records(events: Sequence[Event], *, partition: int = 0) -> list[Record]:
    """Return events as records in their order; each topic's offsets count from 0."""
    offsets: dict[str, int] = {}
    records = []
    for event in events:
        record = as_record(event, partition=partition)
        offset = offsets.get(record.topic, 0)
        records.append(structs.replace(record, offset=offset))
        offsets[record.topic] = offset + 1
    return records
