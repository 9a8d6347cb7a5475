"""The types that the fields of every event share."""

import math
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_ID_BYTES = 256
MAX_FEATURES = 1024
NOT_FINITE = "all numbers should be finite"
#: The last millisecond of the year 9999: what is later is a unit gone wrong, not a date.
MAX_EVENT_TIME = 253_402_300_799_999


def _within_id_bytes(value: str) -> str:
    # ASCII, the usual case, is as many bytes as characters, and the length was checked before.
    if not value.isascii() and len(value.encode()) > MAX_ID_BYTES:
        raise ValueError(f"longer than {MAX_ID_BYTES} bytes in UTF-8")
    return value


def all_finite(values: list[float]) -> bool:
    """Return whether no value is NaN or infinite."""
    # A sum is finite only if all terms are, and takes half the time of asking each; finite terms may overflow it.
    return math.isfinite(sum(values)) or all(map(math.isfinite, values))


def _checked_finite(values: list[float]) -> list[float]:
    if not all_finite(values):
        raise ValueError(NOT_FINITE)
    return values


#: In messages of our own, which repeat identifiers that were checked when they came in.
CheckedIdentifier = Annotated[str, Field(min_length=1, max_length=MAX_ID_BYTES)]
Identifier = Annotated[CheckedIdentifier, AfterValidator(_within_id_bytes)]
EventTime = Annotated[int, Field(ge=0, le=MAX_EVENT_TIME, description="milliseconds since the epoch, UTC")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Origin = Annotated[
    int, Field(ge=0, le=2**31 - 1, description="the partition that wrote this; event time moves on for each apart")
]
Number = Annotated[float, Field(allow_inf_nan=False)]
#: Wide enough for anything a bounded score can be, narrow enough that sums stay finite.
LogOdds = Annotated[float, Field(ge=-1e9, le=1e9)]
Features = Annotated[
    list[float],
    AfterValidator(_checked_finite),
    Field(max_length=MAX_FEATURES, description="in the order of the feature schema, without the intercept"),
]


#: In messages of our own, of which a reader checks those features that it uses.
CheckedFeatures = Annotated[list[float], Field(max_length=MAX_FEATURES)]


class Event(BaseModel):
    """Base of all messages: unknown fields are ignored (producers evolve), wrong types are not."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)
