"""Where a store keeps its records: what it asks of the place, and the simplest one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from stream_qa.coefficients.record import head
from stream_qa.errors import StoreAheadError, StoreBehindError


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

    def pack(self) -> bytes:
        """Return it as a backend keeps it: the topic, a slash, the number."""
        return f"{self.topic}/{self.partition}".encode()

    @classmethod
    def unpack(cls, packed: bytes) -> "Place":
        """Return what was packed."""
        topic, _, partition = packed.decode().rpartition("/")
        return cls(topic, int(partition))


class Reach(NamedTuple):
    """How far a partition is followed, as its next offset."""

    since: int
    """Where the store must be; 0 where it has nothing of the partition."""
    until: int
    """Where it is afterwards: before ``since`` to have it read again."""


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
        StoreBehindError, StoreAheadError
            A position is before, or beyond, its ``since``. Nothing was changed.
        """

    def positions(self) -> dict[Place, int]:
        """Return the next offset of every partition of which something is kept."""

    def followed(self, topic: str, topic_id: bytes) -> bytes:
        """Return the id of the topic that is followed under a name: the first one that was given for it."""

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all keys and records, in no order that matters."""

    def close(self) -> None:
        """Let go of the place."""


class MemoryBackend:
    """Keeps all in this process, and loses it with it."""

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self._positions: dict[Place, int] = {}
        self._followed: dict[str, bytes] = {}

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key; ``None`` where there is none."""
        return [self._records.get(key) for key in keys]

    def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
        """Make the swaps whose record before is still there; return the keys of the others."""
        require(positions, self._positions)
        refused = [key for key, swap in swaps.items() if head(self._records.get(key)) != swap.before]
        for key, swap in swaps.items():
            if key in refused:
                continue
            if swap.after is None:
                self._records.pop(key, None)
            else:
                self._records[key] = swap.after
        if not refused:
            self._positions.update(moved(positions))
        return refused

    def positions(self) -> dict[Place, int]:
        """Return the next offset of every partition of which something is kept."""
        return dict(self._positions)

    def followed(self, topic: str, topic_id: bytes) -> bytes:
        """Return the id of the topic that is followed under a name: the first one that was given for it."""
        return self._followed.setdefault(topic, topic_id)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all keys and records."""
        yield from list(self._records.items())

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def require(positions: Mapping[Place, Reach], held: Mapping[Place, int]) -> None:
    """Raise where a store that is at ``held`` is not where ``positions`` begin.

    Raises
    ------
    StoreBehindError, StoreAheadError
        It is before, or beyond, one of them.
    """
    offsets = [(held.get(place, 0), reach.since) for place, reach in positions.items()]
    if any(offset < since for offset, since in offsets):
        raise StoreBehindError("the store is behind where it was")
    if any(offset > since for offset, since in offsets):
        raise StoreAheadError("another follower has brought the store further")


def moved(positions: Mapping[Place, Reach]) -> dict[Place, int]:
    """Return where a store is after a step, of the partitions that it has moved in."""
    return {place: reach.until for place, reach in positions.items() if reach.until != reach.since}
