"""The personalised score of an application at the moment it arrived, by component."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import Event, EventTime, Identifier, Number


class Score(Event):
    """One per application, keyed by ``member_id``: made before anything was known of the outcome."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    applied_at: EventTime
    global_log_odds: Number
    member_log_odds: Number
    job_log_odds: Number
    log_odds: Annotated[Number, Field(description="the sum of the three components")]
    probability: Annotated[float, Field(ge=0, le=1)]
    model_version: Identifier
    member_version: Annotated[int, Field(ge=0)]
    job_version: Annotated[int, Field(ge=0)]
