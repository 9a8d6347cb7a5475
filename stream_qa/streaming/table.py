"""State on disk: one RocksDB a lane, a cache of the lane's changelog that may vanish."""

import shutil
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import rocksdict

from stream_qa.errors import StateError
from stream_qa.stages.state import Changes

#: In every table, and never in a stage's own keys: where the lane's next record of a source is.
POSITION = b"\x00position/"
#: Local only: the offset of the last changelog record that this table holds.
CHANGELOG_OFFSET = b"\x00changelog-offset"

_OFFSET = struct.Struct(">q")


def position_key(topic: str) -> bytes:
    """Return the key of the next offset of a source, in the table and in the changelog."""
    return POSITION + topic.encode()


def pack_offset(offset: int) -> bytes:
    """Return the record of an offset."""
    return _OFFSET.pack(offset)


class Table:
    """One RocksDB of raw bytes.

    Parameters
    ----------
    path
        Its directory; made where it does not exist.
    cache
        The block cache, shared by the tables of a worker so that their sum is bounded.
    write_buffer_bytes
        Size of the write buffer, of which there are two at most.

    Raises
    ------
    StateError
        RocksDB cannot open it: another process holds it, or the disk does not let us.
    """

    def __init__(self, path: Path, cache: rocksdict.Cache, write_buffer_bytes: int) -> None:
        self._path = path
        self._options = _options(cache, write_buffer_bytes)
        self._open()

    def _open(self) -> None:
        path = self._path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = rocksdict.Rdict(str(path), self._options)
        except Exception as error:  # rocksdict raises nothing more precise
            raise StateError(f"the table {path} cannot be opened: {error}") from error

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key; ``None`` where there is none."""
        return cast("list[bytes | None]", self._database.get(list(keys)))

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the items with ``start <= key < end`` in the order of their keys' bytes."""
        for key, value in cast("Iterator[tuple[bytes, bytes]]", self._database.items(from_key=start)):
            if key >= end:
                return
            yield key, value

    def apply(self, changes: Changes) -> None:
        """Put and delete many, in one batch: all or nothing."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._database.write(batch)

    def offset(self, key: bytes) -> int | None:
        """Return the offset under ``key``; ``None`` where there is none."""
        (record,) = self.get_many([key])
        return None if record is None else int(_OFFSET.unpack(record)[0])

    def close(self) -> None:
        """Close the database; its lock is free when this returns."""
        self._database.close()

    def clear(self) -> None:
        """Begin anew with an empty database: the changelog has all of it."""
        self.close()
        shutil.rmtree(self._path)
        self._open()


def _options(cache: rocksdict.Cache, write_buffer_bytes: int) -> rocksdict.Options:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003
    options.set_write_buffer_size(write_buffer_bytes)
    options.set_max_write_buffer_number(2)
    options.set_keep_log_file_num(2)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_cache(cache)
    # Index and filter blocks count against the cache as well, or memory would grow with the table.
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_bloom_filter(10, False)  # noqa: FBT003
    options.set_block_based_table_factory(blocks)
    return options
