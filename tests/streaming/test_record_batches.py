"""Batches as a broker takes them from producers that are no Java programs."""

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from stream_qa.streaming.batches import Batches
from stream_qa.streaming.record_batches import read_what_brokers_take

NAME, NO_UTF_8 = b"name", b"na\xffe"
READ_COMMITTED = 1
#: Where in a batch its sum is, and what it is the sum of.
SUM, SUMMED = 17, 21


@pytest.fixture(autouse=True)
def _reader(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MemoryRecords", "PartitionRecords"):
        monkeypatch.setattr(fetcher, name, getattr(fetcher, name))
    read_what_brokers_take()


def batch(first: int, values: Sequence[bytes]) -> bytes:
    """Return a batch as the log has it; each record has two headers."""
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 20
    )
    for number, value in enumerate(values):
        builder.append(number, first + number, b"key", value, [("first", None), (NAME.decode(), b"abc")])
    built = builder.build()
    struct.pack_into(">q", built, 0, first)
    return bytes(built)


def changed(built: bytes, place: int, new: bytes) -> bytes:
    """Return a batch with other bytes at a place, and with the sum that its producer would have sent."""
    bytes_of = bytearray(built)
    bytes_of[place : place + len(new)] = new
    struct.pack_into(">I", bytes_of, SUM, calc_crc32c(bytes_of[SUMMED:]))
    return bytes(bytes_of)


def with_odd_header(built: bytes, value: bytes) -> bytes:
    """Return a batch in which the record of a value has a header whose name is no UTF-8."""
    return changed(built, built.index(NAME, built.index(value)), NO_UTF_8)


def read(fetched: bytes, position: int = 0) -> list[Any]:
    place = TopicPartition("applications", 0)
    return list(
        fetcher.PartitionRecords(
            place,
            fetcher.MemoryRecords(fetched),
            [],
            position,
            None,
            None,
            check_crcs=True,
            isolation_level=READ_COMMITTED,
        )
    )


FETCHED = (
    with_odd_header(batch(0, [b"v0", b"v1", b"v2"]), b"v1")
    + batch(3, [b"v3", b"v4"])
    + with_odd_header(batch(5, [b"v5"]), b"v5")
    + batch(6, [b"v6"])
)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_the_name_of_a_header_may_be_any_bytes_and_each_record_is_read_once(position: int) -> None:
    records = read(FETCHED, position)
    assert [(record.offset, record.timestamp, record.key, record.value) for record in records] == [
        (number, number, b"key", b"v%d" % number) for number in range(position, 7)
    ]
    for record in records:
        name = "na\\xffe" if record.offset in (1, 5) else "name"
        assert list(record.headers) == [("first", None), (name, b"abc")]


def test_a_record_with_such_a_header_can_be_written_again() -> None:
    odd = read(FETCHED, 1)[0]
    batches = Batches()
    batches.add(("dead-letters", 0), odd.key, odd.value, odd.headers)
    (((_, written),),) = batches.rounds()
    assert read(written.finish(-1, -1, 0))[0].headers == odd.headers


def test_what_is_corrupt_stays_an_error() -> None:
    odd = with_odd_header(batch(0, [b"v0", b"v1"]), b"v0")
    for corrupt in (odd[:-1] + b"?", changed(odd, odd.index(b"v1") - 1, b"\x7f")):
        with pytest.raises(CorruptRecordException):
            read(corrupt)
