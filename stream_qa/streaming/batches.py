"""What one transaction writes: record batches, filled message by message, a few for each partition."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream_qa.events import Headers

Destination = tuple[str, int]
"""A topic and a partition of it."""


class Written(NamedTuple):
    """The offsets of the first and the last record that were written to a partition; others' may be between them."""

    first: int
    last: int


#: Below the broker's default limit for a batch, so that many messages never add up to one that is refused.
BATCH_BYTES = 900_000
#: Of all batches in one request. Far below the broker's limit (``socket.request.max.bytes``, 100 MiB): a request is
#: copied several times, and a large one in memory that the system has to give anew each time.
REQUEST_BYTES = 4_000_000
_MAGIC = 2
_NO_COMPRESSION = 0
_NO_PRODUCER = -1


class Batch:
    """A record batch; it takes at least one record, however large that is."""

    __slots__ = ("builder", "count")

    def __init__(self) -> None:
        self.count = 0
        self.builder = DefaultRecordBatchBuilder(
            _MAGIC,
            _NO_COMPRESSION,
            is_transactional=1,
            producer_id=_NO_PRODUCER,
            producer_epoch=_NO_PRODUCER,
            base_sequence=0,
            batch_size=BATCH_BYTES,
        )

    def finish(self, producer_id: int, producer_epoch: int, base_sequence: int) -> bytes:
        """Return the bytes for the log."""
        self.builder.set_producer_state(producer_id, producer_epoch, base_sequence)
        return bytes(self.builder.build())


class Placed(NamedTuple):
    """A batch and the partition it is for."""

    destination: Destination
    batch: Batch


class Batches:
    """The batches of one transaction."""

    def __init__(self) -> None:
        self._batches: dict[Destination, list[Batch]] = {}
        self.timestamp = round(time.time() * 1000)
        """Of all records (ms)."""

    def add(self, destination: Destination, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Append a record."""
        batches = self._batches.get(destination)
        if batches is None:
            batches = self._batches[destination] = [Batch()]
        self._append(batches, key, value, list(headers))

    def add_all(self, destination: Destination, records: Mapping[bytes, bytes | None]) -> None:
        """Append records by key and value; a broker refuses a batch of none."""
        if not records:
            return
        batches = self._batches.setdefault(destination, [Batch()])
        no_headers: list[tuple[str, bytes | None]] = []
        for key, value in records.items():
            self._append(batches, key, value, no_headers)

    def _append(
        self, batches: list[Batch], key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
    ) -> None:
        batch = batches[-1]
        if batch.builder.append(batch.count, self.timestamp, key, value, headers) is None:
            batch = Batch()
            batches.append(batch)
            batch.builder.append(0, self.timestamp, key, value, headers)
        batch.count += 1

    def destinations(self) -> list[Destination]:
        """Return the partitions that are written to."""
        return list(self._batches)

    def counts(self) -> Counter[str]:
        """Return how many records there are for each topic."""
        counts: Counter[str] = Counter()
        for (topic, _), batches in self._batches.items():
            counts[topic] += sum(batch.count for batch in batches)
        return counts

    def rounds(self) -> Iterator[list[Placed]]:
        """Yield the batches in an order that keeps each partition's: one of a partition at a time, and not too many."""
        longest = max(map(len, self._batches.values()), default=0)
        for index in range(longest):
            placed: list[Placed] = []
            size = 0
            for destination, batches in self._batches.items():
                if index >= len(batches):
                    continue
                bytes_more = batches[index].builder.size()
                if placed and size + bytes_more > REQUEST_BYTES:
                    yield placed
                    placed, size = [], 0
                placed.append(Placed(destination, batches[index]))
                size += bytes_more
            yield placed
