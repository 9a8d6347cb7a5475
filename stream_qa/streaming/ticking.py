"""Ticks: the worker's clock, put into the log where inputs are read to their end and quiet.

Event time would stand still there. What the clock says goes through the topic like any event, so that reading the log
again gives the same labels whenever that is.
"""

import time
from collections.abc import Callable

from stream_qa.errors import CorruptTableError
from stream_qa.labels.event_time import NOT_BEGUN
from stream_qa.stages.label import LabelStage, Quiet
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Lane


class Ticker:
    """Moves the event time of one partition on.

    Parameters
    ----------
    stage
        The label stage.
    group
        Its group, which sends the ticks.
    lane
        The label lane of the partition.
    quiet_seconds
        An input that brings nothing for so long is quiet.
    clock
        Tells seconds.
    """

    def __init__(
        self,
        stage: LabelStage,
        group: LaneGroup,
        lane: Lane,
        quiet_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage = stage
        self._group = group
        self._lane = lane
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._ticked: tuple[int, float] | None = None
        """To which event time (ms) it ticked last, and when."""

    def tick(self) -> bool:
        """Send a tick if there is a quiet input to move on; return whether one was sent."""
        lane, topics = self._lane, self._stage.topics
        applications, engagements = map(lane.waiting.quiet_seconds, (topics.applications, topics.engagements))
        if not lane.is_open or lane.is_behind or applications is None or engagements is None:
            return False
        now = self._clock()
        newest_at = now - min(applications, engagements)
        # What is on its way may be as old as an input may be late without being quiet; after a tick nothing is.
        known_at, least = newest_at + self._quiet_seconds, NOT_BEGUN
        if self._ticked is not None:
            reached_at, ticked_at = self._ticked
            if ticked_at > newest_at:
                known_at = ticked_at
            else:
                # One event alone does not move the present, and time has passed all the same.
                least = reached_at + round((now - ticked_at) * 1000)
        quiet = Quiet(
            applications >= self._quiet_seconds,
            engagements >= self._quiet_seconds,
            round((now - known_at) * 1000),
            least,
        )
        try:
            tick = self._stage.tick(lane.partition, lane.table, quiet)
        except CorruptTableError:
            # The group mends its tables, before its next step.
            self._group.wake()
            return False
        if tick is None:
            return False
        self._group.send(lane, self._stage.message_of(tick))
        self._ticked = tick.reached_at, now
        return True
