"""The types that the fields of every event share.

``Field`` speaks to pydantic, ``Meta`` says the same to msgspec, by which the stages read (``wire.py``).
"""

from typing import Annotated

from msgspec import Meta
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_ID_BYTES = 256
MAX_FEATURES = 1024
#: Up to here every reader of JSON has integers exactly.
MAX_COUNT = 2**53
#: The last millisecond of the year 9999: what is later is a unit gone wrong, not a date.
MAX_EVENT_TIME = 253_402_300_799_999


def within_id_bytes(value: str) -> str:
    """Return ``value``; raise ``ValueError`` where its UTF-8 is longer than an id may be."""
    # ASCII, the usual case, is as many bytes as characters, and the length was checked before.
    if not value.isascii() and len(value.encode()) > MAX_ID_BYTES:
        raise ValueError(f"longer than {MAX_ID_BYTES} bytes in UTF-8")
    return value


Identifier = Annotated[
    str,
    Field(min_length=1, max_length=MAX_ID_BYTES),
    Meta(min_length=1, max_length=MAX_ID_BYTES),
    AfterValidator(within_id_bytes),
]
EventTime = Annotated[
    int, Field(ge=0, le=MAX_EVENT_TIME, description="milliseconds since the epoch, UTC"), Meta(ge=0, le=MAX_EVENT_TIME)
]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT), Meta(ge=0, le=MAX_COUNT)]
Revision = Annotated[
    int, Field(ge=1, le=MAX_COUNT, description="strictly increasing for an application"), Meta(ge=1, le=MAX_COUNT)
]
ModelNumber = Annotated[
    int,
    Field(ge=0, le=MAX_COUNT, description="rises with every model that the group takes up; 0 is the one it began with"),
    Meta(ge=0, le=MAX_COUNT),
]
Weight = Annotated[
    float, Field(ge=0, le=1, description="how much the value counts; 0 while it is not known"), Meta(ge=0, le=1)
]
Origin = Annotated[
    int,
    Field(ge=0, le=2**31 - 1, description="the partition that wrote this; event time moves on for each apart"),
    Meta(ge=0, le=2**31 - 1),
]
#: msgspec knows no number that is not finite.
Number = Annotated[float, Field(allow_inf_nan=False)]
#: Wide enough for anything a bounded score can be, narrow enough that sums stay finite.
LogOdds = Annotated[float, Field(ge=-1e9, le=1e9), Meta(ge=-1e9, le=1e9)]
#: How far features may be clipped, and how wide and narrow priors may be. No coefficient is larger than 20 standard
#: deviations of its prior, which are 10 at most: with ``MAX_FEATURES`` features of 1,000 and an intercept a side's part
#: of a score is within 20 * 10 * 1,024,001 = 2.05e8, and the sum of both and of the global 30 within ``LogOdds``.
#: Standard deviations of two models are at most 10,000 times as large as each other, so that squares stay finite.
MOST_FEATURE_BOUND = 1_000.0
LEAST_PRECISION, MOST_PRECISION = 0.01, 1_000_000.0
FeatureBound = Annotated[float, Field(gt=0, le=MOST_FEATURE_BOUND, allow_inf_nan=False)]
Precision = Annotated[float, Field(ge=LEAST_PRECISION, le=MOST_PRECISION, allow_inf_nan=False)]
Features = Annotated[
    list[Number],
    Field(max_length=MAX_FEATURES, description="in the order of the feature schema, without the intercept"),
    Meta(max_length=MAX_FEATURES),
]


class Event(BaseModel):
    """Base of all messages: unknown fields are ignored (producers evolve), wrong types are not."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)
