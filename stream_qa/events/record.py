"""What comes from a topic and what goes to one, in the pure code's own terms."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

#: Kafka allows a header without a value.
Headers = Sequence[tuple[str, bytes | None]]


class SourceRecord(Protocol):
    """One record as it was read; aiokafka's ``ConsumerRecord`` is one as it stands."""

    @property
    def topic(self) -> str:
        """The topic's name on the broker."""

    @property
    def partition(self) -> int:
        """The partition it was read from."""

    @property
    def offset(self) -> int:
        """Its offset in the partition."""

    @property
    def key(self) -> bytes | None:
        """The key's bytes, untouched."""

    @property
    def value(self) -> bytes | None:
        """The value's bytes, untouched; ``None`` for a tombstone."""

    @property
    def headers(self) -> Headers:
        """The headers, in their order."""

    @property
    def timestamp(self) -> int:
        """When the topic says that it came, or was sent (ms); 0 where it was never in one."""


#: The lengths of a header's name and value, each at most.
_LENGTH_BYTES = 5


def bytes_of(record: SourceRecord) -> int:
    """Return how many bytes the key, the value and the headers of a record take at most, uncompressed."""
    headers = sum(len(name.encode()) + len(value or b"") + 2 * _LENGTH_BYTES for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


class Record(Struct, frozen=True, gc=False):
    """A source record that did not come from a broker: a line of a log, a record put aside."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int = 0


class Message(Struct, frozen=True, gc=False):
    """What a stage sends."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    """Where it goes; ``None`` where that follows from the key."""
