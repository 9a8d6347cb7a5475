"""The log of every program: one set-up, one renderer, for our own lines and those of all libraries.

Code says what happened by the loggers of the standard library, so that whoever uses a part of it as a library has it in
a log of their own. Where a record stands goes beside the sentence: ``extra=at(topic, partition, offset)``.

What is about a person is logged at debug level at most: features, and ids of members, jobs and applications.
"""

import logging
import sys
import traceback
from collections.abc import Sequence
from typing import IO, Any, Literal

import orjson
import structlog
from aiokafka.errors import KafkaError

from stream_qa.errors import StreamQAError

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

FIELDS = ("stage", "topic", "partition", "offset", "partitions", "model", "reason")
"""What stands beside a sentence, where it belongs."""

#: At debug level it logs requests, a password among them.
_SECRETIVE = "aiokafka.conn"
_CLIENT = "aiokafka"


def set_up_logs(
    log_format: LogFormat, level: int | str, stream: IO[str] | None = None, *, client_level: int | None = None
) -> None:
    """Let all loggers write to one stream, in one form.

    Parameters
    ----------
    log_format
        ``console`` for people, ``json`` for programs: an object a line.
    level
        The least that is written, as a number or a name.
    stream
        Where to; the standard error by default.
    client_level
        The least that the Kafka client says, where that is more; commands say in their own errors what goes wrong.
    """
    handler = _StandardError() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(_formatter(log_format, colours=handler.stream.isatty()))
    root = logging.getLogger()
    # Whatever set something up before, as Faust does; others, as those of tests, stay.
    root.handlers[:] = [handler, *(other for other in root.handlers if not isinstance(other, logging.StreamHandler))]
    root.setLevel(level.upper() if isinstance(level, str) else level)
    logging.captureWarnings(capture=True)
    logging.getLogger(_CLIENT).setLevel(logging.NOTSET if client_level is None else client_level)
    logging.getLogger(_SECRETIVE).setLevel(max(logging.WARNING, client_level or 0))


def at(topic: str, partition: int, offset: int | None = None) -> dict[str, Any]:
    """Return the fields that say where a record stands."""
    fields: dict[str, Any] = {"topic": topic, "partition": partition}
    return fields if offset is None else {**fields, "offset": offset}


class _StandardError(logging.StreamHandler[IO[str]]):
    """Writes to whatever is the standard error when something is said."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> IO[str]:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: IO[str]) -> None: ...


def _formatter(log_format: LogFormat, *, colours: bool) -> logging.Formatter:
    before: Sequence[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(FIELDS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode())
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=colours, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _with_traceback, renderer],
    )


def _with_traceback(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        whole = logging.getLogger().isEnabledFor(logging.DEBUG)
        event["exception"] = traceback_of(error) if not whole else "".join(traceback.format_exception(error)).rstrip()
    return event


def traceback_of(error: BaseException) -> str:
    """Return where an error came from, without the text of errors that may have an id or a feature in it.

    The texts of our own errors have none, nor have those of the Kafka client and of the system.
    """
    lines: list[str] = []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        lines += [traceback_of(before), "", "which led to:", ""]
    lines += [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
    text = f": {error}" if isinstance(error, StreamQAError | KafkaError | OSError) else ""
    return "\n".join([*lines, f"{type(error).__name__}{text}"])
