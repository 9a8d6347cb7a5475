"""Event time moving on where nothing comes that would move it."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import Event, EventTime, Origin


class Tick(Event):
    """Inputs of a partition that are read to their end and quiet have reached this event time."""

    partition: Origin
    reached_at: EventTime
    applications: Annotated[bool, Field(description="whether the applications are quiet")]
    engagements: Annotated[bool, Field(description="whether the engagements are quiet")]
