"""The partition of a key is the one that Kafka's Java client chooses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.streaming import partitioner
from stream_qa.streaming.partitioner import partition_of

# From UtilsTest.testMurmur2 of Kafka's Java client.
HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "hashed"), HASHES.items())
@pytest.mark.parametrize("partitions", [1, 2, 3, 4, 12, 100, 2**31])
def test_the_partition_is_that_of_the_java_client(key: bytes, hashed: int, partitions: int) -> None:
    # Java's toPositive: the sign bit is masked, not negated.
    assert partition_of(key, partitions) == (hashed & 0x7FFFFFFF) % partitions


@given(st.binary(max_size=20), st.integers(1, 64))
def test_every_key_has_a_partition_and_always_the_same(key: bytes, partitions: int) -> None:
    partition = partition_of(key, partitions)
    assert 0 <= partition < partitions
    partitioner._remembered.cache_clear()
    assert partition_of(key, partitions) == partition


def test_keys_that_are_no_ids_are_not_remembered() -> None:
    """A dead letter has the key that its producer gave it, which can be a thousand times as long as an id."""
    partition_of(b"x" * 256, 4)
    remembered = partitioner._remembered.cache_info().currsize
    assert [partition_of(b"x" * 257, partitions) for partitions in (1, 4)] == [0, 2]
    assert partitioner._remembered.cache_info().currsize == remembered


def test_what_has_no_key_goes_to_the_first_partition() -> None:
    assert [partition_of(None, partitions) for partitions in (1, 4, 32)] == [0, 0, 0]
