"""A table as it will be: what is in it, and over that what is not written yet."""

from collections.abc import Iterator, Sequence

from sortedcontainers import SortedDict

from stream_qa.stages.state import Changes, StateReader


class Overlay:
    """State that reads through to another and keeps its own changes to itself."""

    def __init__(self, below: StateReader, changes: Changes | None = None) -> None:
        self._below = below
        self.changes: SortedDict[bytes, bytes | None] = SortedDict(changes or {})

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key."""
        below = self._below.get_many(keys)
        return [self.changes.get(key, found) for key, found in zip(keys, below, strict=True)]

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the items with ``start <= key < end`` in order."""
        above = {key: self.changes[key] for key in self.changes.irange(start, end, inclusive=(True, False))}
        merged = {**dict(self._below.scan(start, end)), **above}
        for key in sorted(merged):
            value = merged[key]
            if value is not None:
                yield key, value

    def apply(self, changes: Changes) -> None:
        """Put and delete many."""
        self.changes.update(changes)
