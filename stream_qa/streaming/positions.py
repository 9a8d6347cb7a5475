"""Where a lane is in its sources and in its changelog, and which topics those were: records of its table."""

import struct
from typing import NamedTuple

from stream_qa.errors import StateFormatError

#: In every table, and never in a stage's own keys: where the lane's next record of a source is.
POSITION = b"\x00position/"
#: Local only: how far this table holds its changelog.
CHANGELOG_MARK = b"\x00changelog-mark"

_POSITION = struct.Struct(">qi16s")
_MARK = struct.Struct(">qq16s")

UNKNOWN_TOPIC = bytes(16)
"""In place of a topic's id where the broker is too old to tell it."""


class Origin(NamedTuple):
    """Which topic something was read from: one that was deleted and made anew has another id."""

    topic_id: bytes
    partitions: int

    def may_be(self, other: "Origin") -> bool:
        """Whether nothing speaks against both being the same."""
        known = UNKNOWN_TOPIC not in (self.topic_id, other.topic_id)
        return self.partitions == other.partitions and (not known or self.topic_id == other.topic_id)


class Position(NamedTuple):
    """The next offset of a source."""

    offset: int
    origin: Origin

    def pack(self) -> bytes:
        """Return the record."""
        return _POSITION.pack(self.offset, self.origin.partitions, self.origin.topic_id)

    @staticmethod
    def unpack(record: bytes) -> "Position":
        """Read a record.

        Raises
        ------
        StateFormatError
            It has another format.
        """
        if len(record) != _POSITION.size:
            raise StateFormatError(f"a position of {len(record)} bytes is of another version of stream_qa")
        offset, partitions, topic_id = _POSITION.unpack(record)
        return Position(offset, Origin(topic_id, partitions))


class Mark(NamedTuple):
    """The last changelog record that a table holds, as of when the table is, and the changelog's id."""

    offset: int
    written_at: int
    """Milliseconds since the epoch, by the worker's clock."""
    topic_id: bytes

    def pack(self) -> bytes:
        """Return the record."""
        return _MARK.pack(*self)

    @staticmethod
    def unpack(record: bytes) -> "Mark | None":
        """Read a record; ``None`` for one of another version: the table is then built anew."""
        return Mark(*_MARK.unpack(record)) if len(record) == _MARK.size else None


def position_key(topic: str) -> bytes:
    """Return the key of the next offset of a source, in the table and in the changelog."""
    return POSITION + topic.encode()
