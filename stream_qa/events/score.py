"""The personalised score of an application at the moment it arrived, by component."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import Count, Event, EventTime, Identifier, LogOdds


class Score(Event):
    """One per application, keyed by ``job_id``: made before anything was known of the outcome."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    applied_at: EventTime
    global_log_odds: LogOdds
    member_log_odds: LogOdds
    job_log_odds: LogOdds
    log_odds: Annotated[LogOdds, Field(description="the sum of the three components")]
    probability: Annotated[float, Field(ge=0, le=1)]
    model_version: Identifier
    member_version: Count
    job_version: Count
