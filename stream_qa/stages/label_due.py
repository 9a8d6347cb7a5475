"""What falls due while a chunk moves event time on: found in the indexes by age, taken in order."""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from stream_qa.labels.event_time import Due, index_entry, index_key, index_range
from stream_qa.stages.state import StateReader

#: What falls due of applications whose life cycle, or whose job, is then asked for.
_OF_APPLICATIONS = frozenset({Due.GIVING_UP, Due.STAYING_SILENT, Due.CLOSING})
_OF_JOBS = frozenset({Due.STAYING_SILENT, Due.OVER})


class DueApplication(NamedTuple):
    """An application of which something falls due."""

    moment: int
    """When (ms)."""
    application_id: str
    due: Due
    job_id: str


class LabelDue:
    """A heap of what falls due.

    Parameters
    ----------
    ages
        For each index, what falls due at which age (ms), the youngest first.
    state
        The label table of the partition.
    changes
        Takes in what changes there.
    most
        Applications that may fall due, about: what is more waits for the next chunk.
    """

    def __init__(
        self,
        ages: dict[bytes, list[tuple[Due, int]]],
        state: StateReader,
        changes: dict[bytes, bytes | None],
        most: int,
    ) -> None:
        self.until = 0
        """The event time (ms) that the chunk can reach at most."""
        self.is_all = True
        """Whether all that falls due until the chunk's end is here."""
        self._ages = ages
        self._state = state
        self._changes = changes
        self._most = most
        self._heap: list[DueApplication] = []

    def load(self, now: int, until: int) -> tuple[list[str], list[str]]:
        """Find what falls due after ``now`` and not after ``until`` (ms); return whose life cycles and which jobs."""
        # With more lateness than before, event time stands still until the inputs have come so far again.
        self.until = max(now, until)
        for item in heapq.merge(*(self._scan(index, now, *at) for index, ats in self._ages.items() for at in ats)):
            if len(self._heap) >= self._most and item.moment > self._heap[-1].moment:
                self.until = self._heap[-1].moment
                self.is_all = False
                break
            # In order, and so a heap.
            self._heap.append(item)
        applications = [item.application_id for item in self._heap if item.due in _OF_APPLICATIONS]
        return applications, [item.job_id for item in self._heap if item.due in _OF_JOBS]

    def remind(self, index: bytes, moment: int, application_id: str, job_id: str = "") -> None:
        """Put an application into an index, and take note of what falls due in this chunk already."""
        self._changes[index_key(index, moment, application_id)] = job_id.encode()
        for due, age in self._ages[index]:
            if moment + age > self.until:
                break
            heapq.heappush(self._heap, DueApplication(moment + age, application_id, due, job_id))

    def take(self, until: int) -> DueApplication | None:
        """Take out what falls due next; ``None`` where nothing does until then (ms)."""
        if not self._heap or self._heap[0].moment > until:
            return None
        return heapq.heappop(self._heap)

    def _scan(self, index: bytes, now: int, due: Due, age: int) -> Iterator[DueApplication]:
        """Yield what falls due at one age, in order."""
        for key, job in self._state.scan(*index_range(index, now - age, self.until - age)):
            moment, application_id = index_entry(index, key)
            yield DueApplication(moment + age, application_id, due, job.decode())
