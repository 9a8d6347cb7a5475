"""State on disk: one RocksDB a lane, a cache of the lane's changelog that may vanish."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import rocksdict

from stream_qa.errors import CorruptTableError, DiskError, StateError
from stream_qa.stages.state import Changes
from stream_qa.streaming.positions import CHANGELOG_MARK, Mark, Position, position_key

_log = logging.getLogger(__name__)

#: RocksDB's default size of a block.
_BLOCK_BYTES = 4_096
#: The one column family that every RocksDB has.
_FAMILY = "default"
#: RocksDB's names of the sizes.
_SIZES = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables", "rocksdb.estimate-num-keys")


class Sizes(NamedTuple):
    """How large a table is."""

    disk: int
    """Bytes of its files."""
    buffers: int
    """Bytes of its write buffers."""
    records: int
    """Estimated: deletions and overwritten records may count."""


class Table:
    """One RocksDB of raw bytes. Files that are damaged are thrown away when it is opened: the changelog has all of it.

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
    DiskError
        RocksDB cannot open it: another process holds it, or the disk does not let us.
    """

    def __init__(self, path: Path, cache: rocksdict.Cache, write_buffer_bytes: int) -> None:
        self._path = path
        self._options = _options(cache, write_buffer_bytes)
        self.is_damaged = False
        """Whether reading or writing has met damage since it was opened; then it is to be cleared."""
        try:
            self._open()
        except CorruptTableError as error:
            _log.warning("%s; it is built anew", error)
            self._begin_anew()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key; ``None`` where there is none."""
        try:
            return cast("list[bytes | None]", self._database.get(list(keys)))
        except Exception as error:
            raise self._translated(error) from error

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the items with ``start <= key < end`` in the order of their keys' bytes."""
        last = start
        try:
            for key, value in cast("Iterator[tuple[bytes, bytes]]", self._database.items(from_key=start)):
                if key >= end:
                    return
                yield key, value
                last = key
            self._check_end(last)
        except StateError:
            raise
        except Exception as error:
            raise self._translated(error) from error

    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return next(self.scan(b"", b"\xff"), None) is None

    def apply(self, changes: Changes) -> None:
        """Put and delete many, in one batch: all or nothing."""
        self._write(changes, None)

    def store(self, changes: Changes, mark: Mark) -> None:
        """Write what the changelog has up to ``mark``, and ``mark``, in one batch."""
        self._write(changes, mark)

    def position(self, topic: str) -> Position | None:
        """Return where the next record of a source is; ``None`` where none was read."""
        (record,) = self.get_many([position_key(topic)])
        return None if record is None else Position.unpack(record)

    def mark(self) -> Mark | None:
        """Return how far the table holds its changelog; ``None`` where that is not known."""
        (record,) = self.get_many([CHANGELOG_MARK])
        return None if record is None else Mark.unpack(record)

    def sizes(self) -> Sizes:
        """Return how large it is."""
        try:
            disk, buffers, records = (self._database.property_int_value(name) or 0 for name in _SIZES)
        except Exception as error:
            raise self._translated(error) from error
        return Sizes(disk, buffers, records)

    def close(self) -> None:
        """Close the database; its lock is free when this returns, and when it raises.

        Raises
        ------
        CorruptTableError, DiskError
            What was written last may not be on the disk.
        """
        try:
            self._database.close()
        except Exception as error:
            raise self._translated(error) from error

    def clear(self) -> None:
        """Begin anew with an empty database: the changelog has all of it. Nobody may be reading it."""
        try:
            self.close()
        except StateError as error:
            _log.warning("%s; it was to be cleared", error)
        self._begin_anew()

    def _begin_anew(self) -> None:
        try:
            shutil.rmtree(self._path)
        except OSError as error:
            raise self._translated(error) from error
        self.is_damaged = False
        self._open()

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Named, or RocksDB takes the options of files that are there from beside them, without our cache.
            families = {_FAMILY: self._options}
            self._database = rocksdict.Rdict(str(self._path), self._options, column_families=families)
        except Exception as error:
            raise self._translated(error) from error

    def _check_end(self, last: bytes) -> None:
        """Check that nothing comes after ``last``: the binding takes damage for the end of the table."""
        iterator = self._database.iter()
        try:
            iterator.seek(last)
            while iterator.valid() and iterator.key() <= last:
                iterator.next()
            iterator.status()
        finally:
            del iterator  # it keeps the database open, and a traceback would keep it

    def _write(self, changes: Changes, mark: Mark | None) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in changes.items():
            if value is None:
                delete(key)
            else:
                put(key, value)
        if mark is not None:
            put(CHANGELOG_MARK, mark.pack())
        try:
            self._database.write(batch)
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> StateError:
        """Say in our own errors what RocksDB means; its binding has one type of error for all, with RocksDB's text."""
        if "Corruption" in str(error):
            self.is_damaged = True
            return CorruptTableError(f"the table {self._path} is damaged: {error}")
        return DiskError(f"the table {self._path} cannot be read or written: {error}")


def block_cache(size: int) -> rocksdict.Cache:
    """Return a cache of so many bytes, to be shared by tables."""
    # The kind that takes no lock to find a block.
    return rocksdict.Cache.new_hyper_clock_cache(size, _BLOCK_BYTES)


def _options(cache: rocksdict.Cache, write_buffer_bytes: int) -> rocksdict.Options:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003
    options.set_write_buffer_size(write_buffer_bytes)
    options.set_max_write_buffer_number(2)
    options.set_keep_log_file_num(2)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_cache(cache)
    # Index and filter blocks count against the cache as well, or memory would grow with the table.
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_bloom_filter(10, False)  # noqa: FBT003
    # Look-ups of single keys are what a table does most: within a block they go by hash.
    blocks.set_data_block_index_type(rocksdict.DataBlockIndexType.binary_and_hash())
    options.set_block_based_table_factory(blocks)
    return options
