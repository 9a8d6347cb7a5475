"""An application that its job's recruiter should hear of now: its match is very high."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import Event, EventTime, Identifier, LogOdds


class Notification(Event):
    """At most one per application, and a bounded number per job and day; keyed by ``job_id``."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    applied_at: EventTime
    probability: Annotated[float, Field(ge=0, le=1, description="that the application is answered")]
    global_log_odds: LogOdds
    member_log_odds: LogOdds
    job_log_odds: LogOdds
    model_version: Identifier
    number: Annotated[int, Field(ge=1, description="which one of its job's on its day, UTC, it is")]
    explanation: Annotated[str, Field(description="a sentence: what speaks for the match, the most first")]
