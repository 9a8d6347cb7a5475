"""What servers follow: deltas between two versions of an entity's coefficients, and full snapshots."""

from typing import Annotated, Literal

from pydantic import Field

from stream_qa.events.fields import Count, Event, EventTime, Identifier, Number

EntityKind = Literal["member", "job"]
Vector = Annotated[list[Number], Field(description="the intercept first, then in the order of the feature schema")]


class Delta(Event):
    """The change of one entity's coefficients from ``base_version`` to ``version``, keyed by entity.

    A version counts the label steps behind it. Versions are contiguous: ``base_version`` is the version before.
    """

    entity_kind: EntityKind
    entity_id: Identifier
    base_version: Count
    version: Annotated[Count, Field(ge=1)]
    change: Annotated[Vector, Field(description="what to add; multiples of 2^-24, so adding is exact")]
    model_version: Identifier
    labels: Annotated[Count, Field(description="applications behind this version")]
    newest_at: Annotated[EventTime, Field(description="event time of the newest label behind this version")]


class Snapshot(Event):
    """One entity's full coefficients at a version, keyed by entity: heals a gap, starts a server."""

    entity_kind: EntityKind
    entity_id: Identifier
    version: Annotated[Count, Field(ge=1)]
    coefficients: Vector
    model_version: Identifier
    labels: Count
    newest_at: EventTime
