"""What is known of an application's outcome at one moment: one revision of its one label."""

from typing import Annotated, Literal

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

Value = Literal[0, 1]
LabelKind = Literal["open", "provisional", "positive", "negative"]


class Label(Event):
    """One life-cycle step of an application, keyed by ``member_id``; it replaces every earlier revision.

    Self-contained: features and offsets are inside, so the topic is also the training set.
    """

    application_id: Identifier
    member_id: Identifier
    job_id: Identifier
    revision: Revision
    value: Annotated[Value | None, Field(description="1 heard back, 0 did not, null not known yet")]
    weight: Weight
    final: Annotated[bool, Field(description="no engagement still to come can change it; a late one may")]
    reason: Annotated[
        str, Field(description="opened, silence:<rule>, explicit:<kind>, window-closed, late-engagement:<kind>")
    ]
    happened_at: Annotated[EventTime, Field(description="event time of what caused this revision")]
    applied_at: EventTime
    feature_schema: Identifier
    member_features: Features
    job_features: Features
    global_log_odds: LogOdds
    job_log_odds: Annotated[LogOdds, Field(description="the job's part of the score when this was written")]
    job_version: Count
    origin: Origin
    watermark: Annotated[EventTime, Field(description="the event time that the origin had reached")]
    model_version: Annotated[Identifier, Field(description="the model bundle by which it was scored")] = "none"
    model_number: ModelNumber = 0
    global_brought: Annotated[bool, Field(description="whether the application brought its global log-odds")] = False

    @property
    def kind(self) -> LabelKind:
        """The label in one word: open, provisional, positive or negative."""
        if self.value is None:
            return "open"
        if self.value == 1:
            return "positive"
        return "provisional" if self.reason.startswith("silence:") else "negative"
