"""Where a chunk of labels is cut: wherever it is to be as if a new chunk began there."""

from collections.abc import Sequence
from typing import NamedTuple

from stream_qa.durations import DAY
from stream_qa.events import wire
from stream_qa.labels.event_time import NOT_BEGUN, unpack_moment
from stream_qa.learning.entity import clock_range, origin_of
from stream_qa.stages.state import StateReader


class Part(NamedTuple):
    """Labels that are learned together."""

    start: int
    end: int
    """After the last row."""
    today: int
    """The day of event time (ms) that the slowest origin has reached."""


def read_clocks(state: StateReader) -> dict[int, int]:
    """Return the event time (ms) that each origin has reached in a learner's table."""
    return {origin_of(key): unpack_moment(moment) for key, moment in state.scan(*clock_range())}


def day_of(clocks: dict[int, int], origins: int) -> int:
    """Return the day of event time (ms) that the slowest of so many origins has reached.

    ``NOT_BEGUN`` before all of them have begun: so it never goes back.
    """
    if len(clocks) < origins:
        return NOT_BEGUN
    slowest = min(clocks.values())
    return slowest - slowest % DAY


def parts_of(
    labels: Sequence[wire.Label | wire.Example], model_number: int, clocks: dict[int, int], origins: int
) -> list[Part]:
    """Return the parts of ``labels``: one begins where a newer model is named, or another day of event time begins.

    Parameters
    ----------
    labels
        In log order.
    model_number
        Of the newest model before.
    clocks
        The event time (ms) of each origin before; moved on to that after, in place.
    origins
        How many there are.
    """
    parts: list[Part] = []
    start, today = 0, day_of(clocks, origins)
    for row, label in enumerate(labels):
        before = clocks.get(label.origin)
        day = today
        if before is None or label.watermark > before:
            clocks[label.origin] = label.watermark
            # Only the slowest one's moving on moves the day, or the last one's beginning.
            if before is None or before < today + DAY <= label.watermark:
                day = day_of(clocks, origins)
        if day != today or label.model_number > model_number:
            if row > start:
                parts.append(Part(start, row, today))
            start, today, model_number = row, day, max(model_number, label.model_number)
    if labels:
        parts.append(Part(start, len(labels), today))
    return parts
