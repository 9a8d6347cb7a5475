"""Event time in steps: a replay goes on when what the step before has taught is known, as it would have been live."""

import time
from collections.abc import Callable

NEVER = 2**63


class ReplaySteps:
    """How far the labels of a partition may run ahead of the learner of its jobs.

    An application is scored with what its job has learned. That comes back to the partition by way of the members, a
    few transactions later: nothing in live operation, but a log that is read at full speed is weeks further by then.
    So event time is taken in steps, and a step that went by faster than the clock is followed by the next one only when
    the examples of its labels have been read.

    Parameters
    ----------
    length
        Milliseconds of event time; 0 for no steps.
    patience
        Seconds to wait for examples: a member's learner may be on a worker that has stopped.
    clock
        Tells seconds.
    """

    def __init__(self, length: int, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._length = length
        self._patience = patience
        self._clock = clock
        self.open()

    def open(self) -> None:
        """Begin anew: nothing is known of what is on its way."""
        self._on_the_way = 0
        self._end: int | None = None
        self._began = 0.0
        self._waiting_since: float | None = None

    def sent(self, count: int) -> None:
        """Take note of labels that will come back as examples."""
        self._on_the_way += count

    def came_back(self, count: int) -> None:
        """Take note of examples; there may be some from before the beginning."""
        self._on_the_way = max(0, self._on_the_way - count)

    @property
    def waits(self) -> float | None:
        """Seconds for which examples are still waited for; ``None`` where they are not."""
        if self._waiting_since is None:
            return None
        return max(0.0, self._waiting_since + self._patience - self._clock())

    def last(self, moment: int, *, is_first: bool) -> int | None:
        """Return the last event time (ms) that may be taken; ``None`` where the next record has to wait.

        Parameters
        ----------
        moment
            The event time (ms) of the next record.
        is_first
            Whether all records taken before have been processed.
        """
        if not self._length:
            return NEVER
        if self._end is None or (moment >= self._end and is_first and self._is_over()):
            self._waiting_since = None
            self._end, self._began = moment + self._length, self._clock()
        return None if moment >= self._end else self._end - 1

    def _is_over(self) -> bool:
        """Whether what the step has taught is known, or was waited for long enough."""
        now = self._clock()
        if not self._on_the_way or now - self._began >= self._length / 1000:
            return True
        if self._waiting_since is None:
            self._waiting_since = now
        if self.waits:
            return False
        # What has not come by now may never come.
        self._on_the_way = 0
        return True
