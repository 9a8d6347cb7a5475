"""Event logs: JSON Lines files, one event a line, the fields of its topic plus a ``type``."""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import orjson

from stream_qa.errors import InvalidEventError, LogError, NotJSONError, RejectedError
from stream_qa.events import Message, Record, TopicNames, dead_letter
from stream_qa.events.fields import MAX_EVENT_TIME

_TIME_FIELD = {"application": "applied_at", "engagement": "engaged_at"}
STAGE = "replay"


class LogEvent(NamedTuple):
    """One line that names its topic; whether it is a valid event is for the stages to say."""

    time: int
    """Event time in milliseconds."""
    order: int
    """Applications before engagements at the same moment."""
    value: bytes
    key: bytes | None
    topic: str


class Log(NamedTuple):
    """The lines of one or more files."""

    events: list[LogEvent]
    """In event-time order, whatever the order of lines and files was."""
    dead_letters: list[Message]
    """The lines of which not even the topic can be told."""


def read_log(paths: Sequence[Path], topics: TopicNames) -> Log:
    """Read files, gzipped where the name ends in ``.gz``, into memory.

    Raises
    ------
    LogError
        A file cannot be opened or read to its end.
    """
    events: list[LogEvent] = []
    dead_letters: list[Message] = []
    for path in paths:
        time = 0
        for number, line in _lines(path):
            try:
                event = log_event(line, topics, time)
            except RejectedError as error:
                source = Record(path.name, 0, number, None, line)
                dead_letters.append(dead_letter(topics.dead_letters, STAGE, source, error))
            else:
                events.append(event)
                time = event.time
    events.sort()
    return Log(events, dead_letters)


def chunks(events: Iterable[LogEvent], most: int, longest: int) -> Iterator[list[LogEvent]]:
    """Cut events into chunks of at most ``most`` events and ``longest`` milliseconds of event time."""
    chunk: list[LogEvent] = []
    for event in events:
        if chunk and (len(chunk) == most or event.time - chunk[0].time > longest):
            yield chunk
            chunk = []
        chunk.append(event)
    if chunk:
        yield chunk


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with cast("BinaryIO", gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            for number, line in enumerate(file, start=1):
                if stripped := line.strip():
                    yield number, stripped
    except (OSError, EOFError, zlib.error) as error:
        raise LogError(f"the log {path} cannot be read: {error}") from error


def log_event(line: bytes, topics: TopicNames, previous_time: int = 0) -> LogEvent:
    """Read one line; where it has no usable time it stands at ``previous_time`` (ms).

    Raises
    ------
    NotJSONError, InvalidEventError
        Not even its topic can be told.
    """
    try:
        fields: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise NotJSONError(f"the line is not JSON: {error}") from None
    kind = fields.pop("type", None) if isinstance(fields, dict) else None
    if not isinstance(kind, str) or kind not in _TIME_FIELD:
        raise InvalidEventError('the line is no object with a "type" of "application" or "engagement"')
    try:
        value = orjson.dumps(fields)
    except orjson.JSONEncodeError as error:
        # Reading goes deeper than writing.
        raise InvalidEventError(f"the line is no event: {error}") from None
    time, job_id = fields.get(_TIME_FIELD[kind]), fields.get("job_id")
    return LogEvent(
        # What has no usable time is no valid event; it stays where it stood, to be rejected there.
        time=time if type(time) is int and 0 <= time <= MAX_EVENT_TIME else previous_time,
        order=0 if kind == "application" else 1,
        # orjson's result holds on to a larger buffer than it needs; the log is kept, so keep a copy.
        value=bytes(memoryview(value)),
        key=job_id.encode() if isinstance(job_id, str) else None,
        topic=topics.applications if kind == "application" else topics.engagements,
    )
