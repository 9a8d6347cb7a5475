"""The other side reacts to an application: a view, a message, an interview, an offer, a rejection."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import Event, EventTime, Identifier


class Engagement(Event):
    """One reaction to one application, keyed by ``job_id``."""

    application_id: Identifier
    job_id: Identifier
    kind: Annotated[Identifier, Field(description="what happened; the label policy says what it means")]
    engaged_at: EventTime
    engagement_id: Identifier | None = None
