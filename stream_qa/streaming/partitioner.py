"""Which partition a key belongs to: Kafka's own default, so that keys meet whoever produced them."""

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=1 << 17)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of ``key`` among ``partitions``: murmur2, as Kafka's Java client computes it."""
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions
