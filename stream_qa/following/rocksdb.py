"""Coefficients in an embedded RocksDB: the server's own, a copy of the topics that may vanish."""

import logging
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Lock

from stream_qa.coefficients.backend import Place, Reach, Swap, moved, require
from stream_qa.coefficients.record import head
from stream_qa.errors import CorruptTableError
from stream_qa.streaming.table import Table, block_cache

_log = logging.getLogger(__name__)

#: Before the positions: what comes after them, up to the first entity, is read as one.
_FOLLOWED = b"\x00followed/"
_POSITION = b"\x00position/"
_OFFSET = struct.Struct(">q")
#: Every entity's key begins with its kind, a letter.
_FIRST, _LAST = b"\x01", b"\xff"


class RocksDBBackend:
    """Keeps records in a directory that belongs to this process.

    Parameters
    ----------
    directory
        Made where it does not exist. Files that are damaged are thrown away: the topics have all of it. Where that
        shows only when they are read, they are when a follower sets out the next time, by :meth:`positions`.
    cache_bytes
        Size of the block cache.
    write_buffer_bytes
        Size of the write buffer, of which there are two at most.

    Raises
    ------
    DiskError
        Another process has the directory, or the disk does not let us.
    """

    def __init__(self, directory: Path, cache_bytes: int = 256 << 20, write_buffer_bytes: int = 8 << 20) -> None:
        self._table = Table(directory, block_cache(cache_bytes), write_buffer_bytes)
        self._swapping = Lock()
        self._followed: dict[bytes, bytes] = {}
        """The records of the topics' ids, as far as they were asked for."""
        self._entrance, self._left, self._readers = Lock(), Condition(), 0

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the record of each key; ``None`` where there is none."""
        with self._reading():
            return self._table.get_many(keys)

    def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
        """Make the swaps whose record before is still there, in one batch; return the keys of the others.

        Raises
        ------
        CorruptTableError
            Somebody has met damage since a follower set out the last time.
        StoreBehindError, StoreAheadError
            A position is before, or beyond, its ``since``. Nothing was changed.
        """
        with self._swapping:
            if self._table.is_damaged:
                raise CorruptTableError("a look-up has found the store damaged")
            require(positions, self._positions())
            found = self._table.get_many(list(swaps))
            refused = [
                key for (key, swap), record in zip(swaps.items(), found, strict=True) if head(record) != swap.before
            ]
            changes = {key: swap.after for key, swap in swaps.items() if key not in refused}
            if not refused:
                changes |= {_key(place): _OFFSET.pack(offset) for place, offset in moved(positions).items()}
            if changes:
                self._table.apply(changes)
        return refused

    def positions(self) -> dict[Place, int]:
        """Return the next offset of every partition of which something is kept, which is nothing after damage."""
        with self._swapping:
            if self._table.is_damaged:
                self._begin_anew()
            return self._positions()

    def followed(self, topic: str, topic_id: bytes) -> bytes:
        """Return the id of the topic that is followed under a name: the first one that was given for it."""
        key = _FOLLOWED + topic.encode()
        with self._swapping:
            if self._table.is_damaged:
                self._begin_anew()
            (known,) = self._table.get_many([key])
            if known is None:
                self._table.apply({key: topic_id})
            self._followed[key] = topic_id if known is None else known
            return self._followed[key]

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all keys and records, by key."""
        return self._table.scan(_FIRST, _LAST)

    def close(self) -> None:
        """Close the database; its lock is free when this returns."""
        self._table.close()

    def _positions(self) -> dict[Place, int]:
        return {
            Place.unpack(key.removeprefix(_POSITION)): int(_OFFSET.unpack(offset)[0])
            for key, offset in self._table.scan(_POSITION, _FIRST)
        }

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._entrance, self._left:
            self._readers += 1
        try:
            yield
        finally:
            with self._left:
                self._readers -= 1
                self._left.notify()

    def _begin_anew(self) -> None:
        """Clear the table, which nobody may be reading: who comes waits, who is in it leaves first."""
        _log.warning("the store is damaged and begins anew: the topics have all of it")
        with self._entrance, self._left:
            self._left.wait_for(lambda: self._readers == 0)
            self._table.clear()
            # What is filled again is of the same topics.
            self._table.apply(self._followed)


def _key(place: Place) -> bytes:
    return _POSITION + place.pack()
