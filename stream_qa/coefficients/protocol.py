"""What a server does with a change: the rules of docs/coefficients.md, in one function."""

from enum import StrEnum
from typing import NamedTuple

from stream_qa.coefficients.messages import Change, Renewal, Tombstone, vector
from stream_qa.events import wire
from stream_qa.learning.arrays import Floats


class Coefficients(NamedTuple):
    """One entity's coefficients at a version."""

    version: int
    vector: Floats
    """Shape ``(d,)``: the intercept first, to be multiplied with standardised features."""
    labels: int
    """Applications behind it."""
    newest_at: int
    """Event time of the newest label behind it (ms)."""
    model_version: str


class Verdict(StrEnum):
    """What became of a change."""

    APPLIED = "applied"
    SKIPPED = "skipped"
    """It says what is held already, or what came before, or it renews what is not held."""
    GAP = "gap"
    """A change before it is missing: what is held is served until the next snapshot."""


def follow(held: Coefficients | None, change: Change) -> tuple[Coefficients | None, Verdict]:
    """Return what is held after a change, ``None`` for nothing, and what became of it.

    Within an entity's life versions and newest event times go up together. An entity that was dropped may come again:
    its versions begin anew, but later in event time, so the event time is looked at first.
    """
    if isinstance(change, Tombstone):
        return None, Verdict.SKIPPED if held is None else Verdict.APPLIED
    if isinstance(change, Renewal):
        return (None, Verdict.SKIPPED) if held is None else follow(held, change.snapshot)
    if held is not None and (change.newest_at, change.version) <= (held.newest_at, held.version):
        return held, Verdict.SKIPPED
    if isinstance(change, wire.Snapshot):
        numbers = vector(change.coefficients)
    elif change.base_version == 0:
        numbers = vector(change.change)
    else:
        difference = vector(change.change)
        if held is None or held.version != change.base_version or len(held.vector) != len(difference):
            return held, Verdict.GAP
        numbers = held.vector + difference
    after = Coefficients(change.version, numbers, change.labels, change.newest_at, change.model_version)
    return after, Verdict.APPLIED
