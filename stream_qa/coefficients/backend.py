"""Where a store keeps its records: what it asks of the place, and the simplest one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from stream_qa.coefficients.record import head
from stream_qa.errors import StoreBehindError


class Swap(NamedTuple):
    """One record in place of another."""

    before: bytes
    """The head of the record that must be there; nothing where none must be."""
    after: bytes | None
    """``None`` to delete it."""


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Reach(NamedTuple):
    """How far a partition is followed, as its next offset."""

    since: int
    """Where the store must be at least; 0 where nothing is asked of it."""
    until: int
    """Where it is afterwards, if it is not further."""


class Backend(Protocol):
    """Keeps packed records by the entity's key, and how far they follow the topics.

    All raise ``StateError`` or ``StoreUnavailableError`` where the place cannot be read or written.
    """

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key; ``None`` where there is none."""

    def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
        """Make the swaps whose record before is still there, all at once; return the keys of the others.

        Where there are no others, ``positions`` are moved on with them.

        Raises
        ------
        StoreBehindError
            A position is before its ``since``. Nothing was changed.
        """

    def positions(self) -> dict[Place, int]:
        """Return the next offset of every partition of which something is kept."""

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all keys and records, in no order that matters."""

    def close(self) -> None:
        """Let go of the place."""


class MemoryBackend:
    """Keeps all in this process, and loses it with it."""

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self._positions: dict[Place, int] = {}

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key; ``None`` where there is none."""
        return [self._records.get(key) for key in keys]

    def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
        """Make the swaps whose record before is still there; return the keys of the others."""
        if any(self._positions.get(place, 0) < reach.since for place, reach in positions.items()):
            raise StoreBehindError("the store is behind where it was")
        refused = [key for key, swap in swaps.items() if head(self._records.get(key)) != swap.before]
        for key, swap in swaps.items():
            if key in refused:
                continue
            if swap.after is None:
                self._records.pop(key, None)
            else:
                self._records[key] = swap.after
        if not refused:
            for place, reach in positions.items():
                self._positions[place] = max(reach.until, self._positions.get(place, 0))
        return refused

    def positions(self) -> dict[Place, int]:
        """Return the next offset of every partition of which something is kept."""
        return dict(self._positions)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all keys and records."""
        yield from list(self._records.items())

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""
