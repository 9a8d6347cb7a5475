"""What servers follow: deltas between two versions of an entity's coefficients, and full snapshots."""

import binascii
import struct
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from stream_qa.events.fields import Count, Event, EventTime, Identifier, Number

EntityKind = Literal["member", "job"]
_DOUBLE = 8


def _unpacked(value: object) -> object:
    """Return the numbers of a packed vector; what is not text is judged as it is."""
    if not isinstance(value, str):
        return value
    packed = binascii.a2b_base64(value, strict_mode=True)
    if len(packed) % _DOUBLE:
        raise ValueError(f"{len(packed)} bytes are no float64 numbers of {_DOUBLE} bytes")
    return list(struct.unpack(f"<{len(packed) // _DOUBLE}d", packed))


def _packed(numbers: list[float]) -> str:
    return binascii.b2a_base64(struct.pack(f"<{len(numbers)}d", *numbers), newline=False).decode()


#: In JSON the base64 (RFC 4648, section 4, with padding) of the numbers as little-endian IEEE 754 float64.
Vector = Annotated[
    list[Number],
    BeforeValidator(_unpacked, json_schema_input_type=str),
    PlainSerializer(_packed, return_type=str, when_used="json"),
    Field(description="the intercept first, then in the order of the feature schema: little-endian float64 in base64"),
]


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
