"""What waits of one source of a lane: its chunks, and the offsets of what this process writes there itself."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from stream_qa.errors import OffsetGapError
from stream_qa.events import SourceRecord


class Chunk(NamedTuple):
    """What one fetch held for one partition."""

    topic: str
    partition: int
    session: int
    """The lane's session when it was fetched; in a later one it will be fetched again."""
    start: int
    """The partition's position before, control records counted."""
    end: int
    """The partition's position after."""
    records: Sequence[SourceRecord]
    behind: int = 0
    """How many offsets the partition was known to have beyond ``end``."""


class SourceQueue:
    """Chunks of one source, of which the first may be taken in part."""

    def __init__(self) -> None:
        self.count = 0
        """Records that wait."""
        self.bytes = 0
        """Of the keys and values of all chunks."""
        self.behind = 0
        """How many offsets the log was known to have beyond the last chunk that was fetched."""
        self._chunks: deque[tuple[Chunk, list[int], int]] = deque()
        """Each with its event times and its bytes."""
        self._taken = 0
        """Records of the first chunk that are taken."""
        self._reached = 0
        self.taken_time = 0
        """The largest event time (ms) that was taken."""
        self._end = 0
        """Where the last chunk ends."""
        self._fetched = 0
        """Where the last chunk ends that was not handed over."""
        self._known = 0
        """Where the log ends, as far as is known."""
        self._written: int | None = None
        """Where what this process wrote last ends, taken or not."""

    @property
    def has_chunks(self) -> bool:
        """Whether anything waits."""
        return bool(self._chunks)

    @property
    def has_records(self) -> bool:
        """Whether the first chunk has any: control records are none."""
        return bool(self._chunks[0][0].records)

    @property
    def time(self) -> int:
        """The event time (ms) of the next record, or of one before it that was later."""
        times = self._chunks[0][1]
        return times[self._taken] if self._taken < len(times) else self._reached

    @property
    def last_time(self) -> int:
        """The largest event time (ms) of the first chunk, and of those before it."""
        times = self._chunks[0][1]
        return times[-1] if times else self._reached

    def clear(self, position: int, behind: int) -> None:
        """Begin anew with nothing, at a position and with so many offsets known to come."""
        self._chunks.clear()
        self._end = self._fetched = position
        self._known = position + behind
        self._written = None
        self.count = self.bytes = self._taken = self._reached = self.taken_time = 0
        self.behind = behind

    def add(self, chunk: Chunk, times: Sequence[int] | None) -> bool:
        """Queue what was fetched, with its event times (ms); return whether it brings something new."""
        fetched, self._fetched, self.behind = self._fetched, chunk.end, chunk.behind
        self._known = max(self._known, chunk.end + chunk.behind)
        # What was handed over since may be fetched as well, all of it, some, or nothing.
        if fetched <= chunk.start < self._end:
            if chunk.end <= self._end:
                return False
            records = [record for record in chunk.records if record.offset >= self._end]
            chunk = chunk._replace(start=self._end, records=records)
        self._append(chunk, times)
        return True

    @property
    def next_offset(self) -> int | None:
        """Where what is written next will be; ``None`` where something is not fetched yet that comes before it."""
        # A transaction ends with a record of its own in each partition, before the next one can write there. So what
        # is one offset beyond the last that was written here comes right after it.
        is_next = self._end >= self._known - (self._end == self._written)
        return max(self._known, self._end) if is_next else None

    def hand_over(self, chunk: Chunk) -> None:
        """Queue what is about to be written, at :attr:`next_offset`."""
        self._append(chunk._replace(start=self._end), None)

    def wrote(self, last: int) -> None:
        """Take note of the offset of the last record of an open transaction."""
        self._written = last + 1
        self._known = max(self._known, last + 2)

    def _append(self, chunk: Chunk, times: Sequence[int] | None) -> None:
        # Never back: what is late comes with what it came with.
        reached = list(accumulate(times or (), max, initial=self._reached))[1:]
        self._reached = reached[-1] if reached else self._reached
        size = sum([len(record.value or b"") + len(record.key or b"") for record in chunk.records])
        self._chunks.append((chunk, reached, size))
        self.count += len(chunk.records)
        self.bytes += size
        self._end = chunk.end

    def until(self, moment: int) -> tuple[Sequence[SourceRecord], Sequence[int]]:
        """Return what is left of the first chunk up to an event time (ms), and when it happened (ms)."""
        chunk, times, _ = self._chunks[0]
        end = bisect_right(times, moment, self._taken) if times else len(chunk.records)
        return chunk.records[self._taken : end], times[self._taken : end]

    def take(self, count: int, position: int) -> int:
        """Take so many records of the first chunk; return the position after.

        Raises
        ------
        OffsetGapError
            The chunk does not begin at ``position``, where the one before it ended.
        """
        chunk, times, size = self._chunks[0]
        if self._taken == 0 and chunk.start != position:
            raise OffsetGapError(
                f"{chunk.topic}-{chunk.partition} continues at offset {chunk.start}, where {position} was to come"
            )
        self._taken += count
        self.count -= count
        if count and times:
            self.taken_time = times[self._taken - 1]
        if self._taken < len(chunk.records):
            return chunk.records[self._taken - 1].offset + 1
        self._chunks.popleft()
        self.bytes -= size
        self._taken = 0
        return chunk.end
