"""What waits of the sources of a lane: taken in the order of event time where there are two."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from stream_qa.durations import MINUTE
from stream_qa.events import SourceRecord
from stream_qa.streaming.replay_steps import NEVER, ReplaySteps
from stream_qa.streaming.source_queue import Chunk, SourceQueue

#: Bytes after which a step takes no further chunk: above what 5,000 ordinary events have, and a lane's share of what a
#: worker can hold where events are large.
STEP_BYTES = 8 << 20

EventTimes = Callable[[Sequence[SourceRecord]], Sequence[int]]
"""The event time (ms) of each record of a chunk."""

#: Milliseconds by which live events may come out of step.
_OUT_OF_STEP = MINUTE
_EXPECTED_SECONDS = 2.0


class Order(NamedTuple):
    """In which order several sources are taken: that of event time."""

    event_times: EventTimes
    patience: float
    """Seconds to wait for a source that is known to have more."""
    steps: ReplaySteps
    """How far to go before what was taken has been learned from."""
    companions: frozenset[str] = frozenset()
    """Sources that are expected to have more while event time goes by faster than the clock: a log is replayed.

    For them the wait is 2 seconds at most: it may be in vain.
    """
    clock: Callable[[], float] = time.monotonic
    """Tells seconds."""


class Sources:
    """The chunks of a lane that are not yet taken.

    Two sources are read at speeds of their own, and far apart after an outage or in a replay. What was read first would
    then come first, and the scores and provisional labels would not be those of live operation. So the source that is
    ahead in event time waits for the other while that is known to have more, for a bounded time.

    Parameters
    ----------
    topics
        The sources; at the same event time the first of them comes first.
    order
        How they are taken together; ``None`` for as they come.
    """

    def __init__(self, topics: Sequence[str], order: Order | None = None) -> None:
        self._queues = {topic: SourceQueue() for topic in topics}
        # There is no order of one.
        self._order = order if len(topics) > 1 else None
        self._waiting_since: float | None = None
        """Since when another source has had to come first; past the end of the patience as well."""
        self._waiting_until: float | None = None
        """Until when nothing is taken for that reason; ``None`` where it is not the reason."""
        self._heard_at: dict[str, float] = {}
        self._taken: tuple[int, float] | None = None
        """The newest event time (ms) that was taken, and when."""
        self._awaited_in_vain: set[str] = set()

    @property
    def queued(self) -> int:
        """Records that wait."""
        return sum(queue.count for queue in self._queues.values())

    def queued_of(self, topic: str) -> int:
        """Return how many records of a source wait."""
        return self._queues[topic].count

    def bytes_of(self, topic: str) -> int:
        """Return how many bytes the chunks of a source have that wait; one that is taken in part counts whole."""
        return self._queues[topic].bytes

    def fills(self, most: int) -> bool:
        """Whether what waits is as much as a step of about ``most`` records takes."""
        return self.queued >= most or self._bytes >= STEP_BYTES

    @property
    def waits(self) -> float | None:
        """Seconds for which the other source, or what was learned, is still waited for; ``None`` where it is not."""
        if self._order is None:
            return None
        # A wait that has passed, and was followed by taking, is none: else the group would look again and again.
        if self._waiting_until is None:
            return self._order.steps.waits
        return max(0.0, self._waiting_until - self._order.clock())

    def open(self, positions: Mapping[str, int], behind: Mapping[str, int]) -> None:
        """Begin anew with nothing; each source goes on at its position and is known to have so many offsets to come."""
        for topic, queue in self._queues.items():
            queue.clear(positions.get(topic, 0), behind.get(topic, 0))
        self._waiting_since = self._waiting_until = self._taken = None
        self._awaited_in_vain.clear()
        self._heard_at = dict.fromkeys(self._queues, self._now())
        if self._order is not None:
            self._order.steps.open()

    def quiet_seconds(self, topic: str) -> float | None:
        """Return for how long a source has brought nothing; ``None`` while it is not read to its end."""
        queue = self._queues[topic]
        return None if queue.has_chunks or queue.behind else self._now() - self._heard_at[topic]

    def add(self, chunk: Chunk) -> bool:
        """Queue a chunk; return whether it brings something new: what was handed over is fetched as well."""
        times = None if self._order is None else self._order.event_times(chunk.records)
        is_new = self._queues[chunk.topic].add(chunk, times)
        if chunk.records:
            self._heard_at[chunk.topic] = self._now()
            self._awaited_in_vain.discard(chunk.topic)
        return is_new

    def next_offset(self, topic: str) -> int | None:
        """Return where what is written to a source next will be, if only this process writes there.

        ``None`` where something is not fetched yet that comes before it.
        """
        return self._queues[topic].next_offset

    def hand_over(self, chunk: Chunk) -> None:
        """Queue what this process is about to write to a source, at :meth:`next_offset`."""
        self._queues[chunk.topic].hand_over(chunk)

    def wrote(self, topic: str, last: int) -> None:
        """Take note of the offset of the last record that the open transaction has in a source."""
        self._queues[topic].wrote(last)

    def take(self, most: int, positions: Mapping[str, int]) -> tuple[list[SourceRecord], dict[str, int]]:
        """Return about ``most`` records, of about ``STEP_BYTES``, and the new positions of sources that have moved.

        Parameters
        ----------
        most
            A source that is alone is taken by whole chunks, which may be more. So it is with the bytes of any.
        positions
            Where each source is.

        Raises
        ------
        OffsetGapError
            A chunk does not continue where the one before it ended.
        """
        records: list[SourceRecord] = []
        moved: dict[str, int] = {}
        least = self._bytes - STEP_BYTES
        while len(records) < most and self._bytes > least and (last := self._last(is_first=not records)) is not None:
            records += self._merge(last, most - len(records), positions, moved)
        return records, moved

    @property
    def _bytes(self) -> int:
        return sum(queue.bytes for queue in self._queues.values())

    def _now(self) -> float:
        return time.monotonic() if self._order is None else self._order.clock()

    def _last(self, *, is_first: bool) -> int | None:
        """Return the last event time (ms) that may be taken now; ``None`` where there is nothing, or it must wait."""
        self._waiting_until = None
        ready = {topic: queue.time for topic, queue in self._queues.items() if queue.has_chunks}
        if not ready:
            return None
        if self._order is None:
            return NEVER
        earliest = min(ready.values())
        in_step = self._in_step(earliest)
        missing = self._queues.keys() - ready.keys()
        expected = (missing & self._order.companions) - self._awaited_in_vain
        is_known = any(self._queues[topic].behind > 0 for topic in missing)
        if is_known or (expected and earliest > in_step):
            now = self._order.clock()
            if self._waiting_since is None:
                self._waiting_since = now
            patience = self._order.patience if is_known else min(self._order.patience, _EXPECTED_SECONDS)
            if now < self._waiting_since + patience:
                self._waiting_until = self._waiting_since + patience
                return None
            self._awaited_in_vain |= expected
        else:
            self._waiting_since = None
        last = self._order.steps.last(earliest, is_first=is_first)
        if last is None:
            return None
        return min(last, in_step) if expected - self._awaited_in_vain else last

    def _merge(self, last: int, most: int, positions: Mapping[str, int], moved: dict[str, int]) -> list[SourceRecord]:
        """Take the first chunk of every source, all together, until one of them ends.

        Parameters
        ----------
        last
            The last event time (ms).
        most
            Records.
        positions
            Where each source is, unless ``moved`` says so; gets where those are that are taken from.
        """
        ready = [(topic, queue) for topic, queue in self._queues.items() if queue.has_chunks]
        if self._order is None:
            del ready[1:]
        # Beyond the end of a chunk the next one may begin. At the same moment the first source comes first.
        ending = min(range(len(ready)), key=lambda place: ready[place][1].last_time)
        end = ready[ending][1].last_time
        waiting = [queue.until(min(last, end - (place > ending))) for place, (_, queue) in enumerate(ready)]
        records = [record for those, _ in waiting for record in those]
        if len(ready) > 1:
            # Sorted runs, which are merged; of equals the first stays the first.
            times = [moment for _, moments in waiting for moment in moments]
            records = [records[index] for index in sorted(range(len(records)), key=times.__getitem__)[:most]]
        counts = Counter(record.topic for record in records)
        for topic, queue in ready:
            if counts[topic] or not queue.has_records:
                moved[topic] = queue.take(counts[topic], moved.get(topic, positions[topic]))
        if self._taken is not None and records:
            newest = max(queue.taken_time for _, queue in ready)
            if newest > self._taken[0]:
                self._taken = newest, self._now()
        return records

    def _in_step(self, moment: int) -> int:
        """Return the event time (ms) that live events would have come to; ``moment`` is that of the next ones."""
        now = self._now()
        if self._taken is None:
            self._taken = moment, now
        reached, at = self._taken
        return reached + int((now - at) * 1000) + _OUT_OF_STEP
