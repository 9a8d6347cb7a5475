"""Dead letters: input that could not be used, its bytes untouched, with the reason in the headers.

The headers have the names that Kafka Connect gives them, so that existing tools understand them. That a letter was sent
again is noted in its partition, behind it: retention, which deletes from the front, forgets the letter first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct

from stream_qa.errors import RejectedError
from stream_qa.events.record import Message, SourceRecord, bytes_of

PREFIX = "__connect.errors."
TOPIC = f"{PREFIX}topic"
PARTITION = f"{PREFIX}partition"
OFFSET = f"{PREFIX}offset"
STAGE = f"{PREFIX}stage"
EXCEPTION_CLASS = f"{PREFIX}exception.class.name"
EXCEPTION_MESSAGE = f"{PREFIX}exception.message"
HEADERS = {
    TOPIC: "the topic it was read from",
    PARTITION: "the partition",
    OFFSET: "the offset",
    STAGE: "the stage that could not use it",
    EXCEPTION_CLASS: "the error, as in stream_qa.errors; its docstring says what to do",
    EXCEPTION_MESSAGE: "what was wrong; of the input it repeats at most the name of a feature schema",
}
"""What each of these headers says."""
#: Of a note: the offset, in its own partition, of the letter that was sent again.
REDRIVEN = "stream_qa.redriven.offset"
#: Of a letter without its record, which is too large for the topic: how many bytes that has.
LEFT_OUT = "stream_qa.left.out.bytes"
#: Of a record that is kept: what the topic takes (``max.message.bytes``), less room for the reason.
_MOST_BYTES = 10_000_000


def dead_letter(topic: str, stage: str, record: SourceRecord, error: RejectedError) -> Message:
    """Return the message for ``topic`` that keeps ``record`` and says why ``stage`` could not use it.

    Of a record over 10 MB it says only where that is. A broker takes such a one compressed; ``topic`` would not, as
    workers do not compress.
    """
    reason = {
        TOPIC: record.topic,
        PARTITION: str(record.partition),
        OFFSET: str(record.offset),
        STAGE: stage,
        EXCEPTION_CLASS: f"{type(error).__module__}.{type(error).__qualname__}",
        EXCEPTION_MESSAGE: str(error),
    }
    size = bytes_of(record)
    if size > _MOST_BYTES:
        return Message(topic, None, b"", _headers({**reason, LEFT_OUT: str(size)}))
    return Message(topic, record.key, record.value, [*record.headers, *_headers(reason)])


def _headers(said: Mapping[str, str]) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in said.items()]


class DeadLetter(Struct, frozen=True):
    """What is known of a dead letter, without its bytes."""

    partition: int
    """Where it lies among the dead letters; with ``offset`` it names the letter."""
    offset: int
    kept_at: int
    """When it was put there (ms)."""
    source_topic: str
    source_partition: int
    source_offset: int
    stage: str
    reason: str
    """The error's class, without its module."""
    message: str
    failures: int
    """How often it was put there: 1 for one that was never sent again."""
    bytes: int
    """The size of its value."""
    left_out: int = 0
    """The size of the record that it is without, being too large for the topic: key, value and headers."""

    @property
    def name(self) -> str:
        """How an operator names it: ``partition:offset``."""
        return f"{self.partition}:{self.offset}"


def read_letter(record: SourceRecord) -> DeadLetter | None:
    """Return what a record of the dead letters says; ``None`` for one that is no dead letter."""
    # A letter that failed again has its reasons one after the other: the last one counts.
    said = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
    try:
        return DeadLetter(
            partition=record.partition,
            offset=record.offset,
            kept_at=record.timestamp,
            source_topic=said[TOPIC],
            source_partition=int(said[PARTITION]),
            source_offset=int(said[OFFSET]),
            stage=said[STAGE],
            reason=said[EXCEPTION_CLASS].rpartition(".")[2],
            message=said[EXCEPTION_MESSAGE],
            failures=sum(name == TOPIC for name, _ in record.headers),
            bytes=len(record.value or b""),
            left_out=_left_out(record),
        )
    except (KeyError, ValueError):
        return None


def _left_out(record: SourceRecord) -> int:
    # Such a letter has nothing of its record, and this header stands last: a record's own one says nothing.
    name, value = record.headers[-1]
    is_without = record.key is None and record.value == b"" and name == LEFT_OUT
    return int(value or b"0") if is_without else 0


def redriven_note(topic: str, record: SourceRecord) -> Message:
    """Return the note, for the partition of ``record``, that this dead letter was sent again."""
    return Message(topic, record.key, None, [(REDRIVEN, str(record.offset).encode())])


def redriven_offset(record: SourceRecord) -> int | None:
    """Return the offset of the letter that was sent again, where ``record`` is a note of that; else ``None``."""
    headers = dict(record.headers)
    # A letter keeps the headers of its record, whoever wrote that.
    value = headers.get(REDRIVEN) if record.value is None and TOPIC not in headers else None
    return int(value) if value is not None and value.isdigit() else None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; what is ``None`` does not matter."""

    stage: str | None = None
    source_topic: str | None = None
    reason: str | None = None
    since: int | None = None
    """Kept then (ms) or later."""
    until: int | None = None
    """Kept before then (ms)."""
    names: frozenset[str] | None = None

    def __contains__(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        wanted = (
            (self.stage, letter.stage),
            (self.source_topic, letter.source_topic),
            (self.reason, letter.reason),
        )
        return (
            all(asked in (None, found) for asked, found in wanted)
            and (self.since is None or letter.kept_at >= self.since)
            and (self.until is None or letter.kept_at < self.until)
            and (self.names is None or letter.name in self.names)
        )
