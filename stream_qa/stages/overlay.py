"""A table as it will be: what is in it, and over that what is not written yet."""

import heapq
from collections.abc import Iterator, Sequence
from operator import itemgetter

from sortedcontainers import SortedDict

from stream_qa.stages.state import Changes, StateReader


def read_over(below: StateReader, changes: Changes, keys: Sequence[bytes]) -> list[bytes | None]:
    """Return what is under ``keys`` in a table with changes: a dict of them is looked up without an overlay."""
    found = below.get_many(keys)
    return [changes.get(key, record) for key, record in zip(keys, found, strict=True)]


class Overlay:
    """State that reads through to another and keeps its own changes to itself."""

    def __init__(self, below: StateReader, changes: Changes | None = None) -> None:
        self._below = below
        self.changes: SortedDict[bytes, bytes | None] = SortedDict(changes or {})

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key."""
        return read_over(self._below, self.changes, keys)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the items with ``start <= key < end`` in order, reading no more of the table than is asked for."""
        above = [(key, self.changes[key]) for key in self.changes.irange(start, end, inclusive=(True, False))]
        below = self._below.scan(start, end)
        if not above:
            # The usual case, as what is forgotten is old: an item costs no more than without an overlay.
            yield from below
            return
        unchanged = (item for item in below if item[0] not in self.changes)
        for key, value in heapq.merge(above, unchanged, key=itemgetter(0)):
            if value is not None:
                yield key, value

    def apply(self, changes: Changes) -> None:
        """Put and delete many."""
        self.changes.update(changes)
