"""A labelled example for the job's learner: the label, with the member's score as offset."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import (
    Count,
    Event,
    EventTime,
    Features,
    Identifier,
    LogOdds,
    ModelNumber,
    Origin,
    Revision,
    Weight,
)
from stream_qa.events.label import Value


class Example(Event):
    """One revision of an application's label as the job's learner needs it, keyed by ``job_id``."""

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
    member_features: Features
    global_log_odds: LogOdds
    member_log_odds: Annotated[LogOdds, Field(description="the member's part of the score, without this label's step")]
    member_version: Count
    origin: Origin
    watermark: Annotated[EventTime, Field(description="the label's: what the origin had reached for this reader")]
    model_version: Annotated[Identifier, Field(description="the label's")] = "none"
    model_number: ModelNumber = 0
