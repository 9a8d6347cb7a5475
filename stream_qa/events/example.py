"""A labelled example for the job's learner: the label, with the member's score as offset."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import CheckedFeatures, CheckedIdentifier, Count, Event, EventTime, LogOdds, Origin
from stream_qa.events.label import Value


class Example(Event):
    """One revision of an application's label as the job's learner needs it, keyed by ``job_id``."""

    application_id: CheckedIdentifier
    member_id: CheckedIdentifier
    job_id: CheckedIdentifier
    revision: Annotated[Count, Field(ge=1)]
    value: Value | None
    weight: Annotated[float, Field(ge=0, le=1)]
    final: bool
    happened_at: EventTime
    applied_at: EventTime
    feature_schema: CheckedIdentifier
    member_features: CheckedFeatures
    global_log_odds: LogOdds
    member_log_odds: Annotated[LogOdds, Field(description="the member's part of the score, without this label's step")]
    member_version: Count
    origin: Origin
    watermark: Annotated[EventTime, Field(description="the label's: what the origin had reached for this reader")]
