"""A member applies to a job."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import Event, EventTime, Features, Identifier, Number


class Application(Event):
    """One application, keyed by ``job_id``. Sent once; sending the same again changes nothing."""

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    applied_at: EventTime
    feature_schema: Annotated[Identifier, Field(description="names the meaning and order of the features")]
    member_features: Features
    job_features: Features
    global_log_odds: Annotated[
        Number | None, Field(description="the producer's own global score; without it the worker's global model scores")
    ] = None
