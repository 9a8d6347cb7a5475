"""Record batches that brokers take and aiokafka cannot read: we read them, as Kafka's Java client would."""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.record.util import decode_varint_py


def read_what_brokers_take() -> None:
    """Let the consumers of this process read every batch that a broker takes.

    A broker checks how long the parts of a record are, and not what they are. aiokafka wants the names of headers to be
    UTF-8, which producers that are no Java programs need not know. It would stop at such a record for ever: what cannot
    be read cannot become a dead letter.
    """
    fetcher.MemoryRecords = _Batches
    fetcher.PartitionRecords = _PartitionRecords


class _Batches:
    """The batches of one fetch, which the library reads in C, and how many it was given."""

    def __init__(self, data: bytes) -> None:
        batches = MemoryRecords(data)
        self.data = data
        self.given = 0
        self.has_next = batches.has_next
        self.size_in_bytes = batches.size_in_bytes
        self._next_batch = batches.next_batch

    def next_batch(self) -> Any:  # noqa: ANN401 # the library's own
        """Return the next batch."""
        self.given += 1
        return self._next_batch()


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc] # aiokafka has no types
    """The records of one fetch of a partition."""

    _records: Any

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except (UnicodeDecodeError, CorruptRecordException):
            # The rest by ourselves, from this batch on: what of it was given before is not given again.
            self._records = _OurBatches(self._records.data, self._records.given - 1)
            yield from super()._unpack_records()


class _OurBatches(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka has no types
    """The batches of one fetch without the first ones, which we read."""

    def __init__(self, data: bytes, passed_by: int) -> None:
        super().__init__(data)
        for _ in range(passed_by):
            self._cache_next()

    def next_batch(self) -> Any:  # noqa: ANN401 # the library's own
        """Return the next batch."""
        data = self._next_slice
        super().next_batch()
        return _OurBatch(data)


class _OurBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # aiokafka has no types
    """A batch that is read as strictly as the broker has done it, and not more so."""

    _pos: int

    def _read_msg(self) -> Any:  # noqa: ANN401 # the library's own
        length = self._varint()
        end = self._pos + length
        self._pos += 1  # the attributes, of which none is in use
        delta = self._varint()
        timestamp = self.max_timestamp if self.timestamp_type == self.LOG_APPEND_TIME else self.first_timestamp + delta
        offset = self.base_offset + self._varint()
        key, value = self._bytes(), self._bytes()
        headers = [(self._name(), self._bytes()) for _ in range(self._varint())]
        if self._pos != end:
            raise CorruptRecordException(f"the record at offset {offset} is not as long as it says")
        return _DefaultRecordPy(offset, timestamp, self.timestamp_type, key, value, headers)

    def _varint(self) -> int:
        # Not that in C, which reads beyond the end.
        value, self._pos = decode_varint_py(self._buffer, self._pos)
        return int(value)

    def _bytes(self) -> bytes | None:
        length = self._varint()
        if length < 0:
            return None
        begin, self._pos = self._pos, self._pos + length
        return bytes(self._buffer[begin : self._pos])

    def _name(self) -> str:
        """Return the name of a header; what is no UTF-8 stands in it as escapes, so that it can be written again."""
        return (self._bytes() or b"").decode(errors="backslashreplace")
