"""Which partition a key belongs to: Kafka's own default, so that keys meet whoever produced them."""

from functools import lru_cache

from aiokafka.partitioner import murmur2

from stream_qa.events.fields import MAX_ID_BYTES
from stream_qa.stages.share import Share


def partition_of(key: bytes | None, partitions: int) -> int:
    """Return the partition of ``key`` among ``partitions``: murmur2, as Kafka's Java client computes it.

    What has no key goes to the first: no event of ours is without one, so it is a dead letter or will be.
    """
    if key is None or partitions == 1:
        return 0
    # Longer keys are those of dead letters, as producers gave them: a few of them could fill the memory.
    return _remembered(key, partitions) if len(key) <= MAX_ID_BYTES else _partition_of(key, partitions)


def share_of(partition: int, partitions: int) -> Share:
    """Return what a partition is of so many: it has the keys that :func:`partition_of` puts there."""
    return Share(partitions, lambda key: partition_of(key.encode(), partitions) == partition)


def _partition_of(key: bytes, partitions: int) -> int:
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions


_remembered = lru_cache(maxsize=1 << 17)(_partition_of)
