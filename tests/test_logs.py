"""The log: one form for everybody, and nothing of a person in it."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from itertools import chain

import pytest

from stream_qa.errors import DiskError
from stream_qa.logs import LogFormat, at, set_up_logs, traceback_of


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "aiokafka", "aiokafka.conn")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    logging.captureWarnings(capture=False)
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


def written(log_format: LogFormat, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    set_up_logs(log_format, level, stream)
    return stream


def test_as_json_every_line_is_an_object_with_what_stands_beside_the_sentence() -> None:
    stream = written("json")
    logging.getLogger("stream_qa.one").warning("model %s is refused", "m-1", extra=at("labels", 2, 17))
    logging.getLogger("elsewhere.part").error("of a library")
    logging.getLogger("stream_qa.one").debug("too little to be said")
    with warnings.catch_warnings(record=False):
        warnings.simplefilter("always")
        # As if nothing in this process had done so before.
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("a warning,\nof two lines", stacklevel=1)
    first, second, third = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "model m-1 is refused",
        "level": "warning",
        "logger": "stream_qa.one",
        "topic": "labels",
        "partition": 2,
        "offset": 17,
    }
    assert (second["event"], second["level"]) == ("of a library", "error")
    assert third["logger"] == "py.warnings"


def test_for_people_it_is_a_line_with_the_sentence_and_without_colours_in_a_file() -> None:
    stream = written("console")
    logging.getLogger("stream_qa.one").info("ready: partitions %s", [0, 1], extra={"partitions": [0, 1]})
    line = stream.getvalue()
    assert "[info     ] ready: partitions [0, 1] [stream_qa.one] partitions=[0, 1]\n" in line
    assert "\x1b" not in line


def test_setting_it_up_again_does_not_say_everything_twice() -> None:
    written("json")
    stream = written("json")
    logging.getLogger("stream_qa.one").info("once")
    assert len(stream.getvalue().splitlines()) == 1


def failing() -> BaseException:
    """Return an error with ids in its text, and where it came from, and one of ours that it led to."""
    with pytest.raises(DiskError) as raised:
        fail()
    return raised.value


def fail() -> None:
    held: dict[str, int] = {}
    try:
        held[f"member-{4700 + 11}"]
    except KeyError as error:
        raise DiskError("the table label-0 cannot be written") from error


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_says_where_but_not_the_text_of_errors_that_may_have_an_id_in_it(log_format: LogFormat) -> None:
    stream = written(log_format)
    logging.getLogger("stream_qa.one").error("failed", exc_info=failing())
    said = stream.getvalue()
    assert "4711" not in said
    for part in ("KeyError", "which led to", "DiskError: the table label-0 cannot be written", "in fail"):
        assert part in said
    assert traceback_of(OSError(28, "No space left on device")) == "OSError: [Errno 28] No space left on device"


def test_at_debug_level_it_says_all_of_it() -> None:
    stream = written("console", "debug")
    logging.getLogger("stream_qa.one").error("failed", exc_info=failing())
    assert "KeyError: 'member-4711'" in stream.getvalue()


def test_requests_of_the_client_library_are_never_logged_as_they_have_passwords() -> None:
    stream = written("console", "debug")
    logging.getLogger("aiokafka.conn").debug("SaslAuthenticateRequest(b'secret')")
    logging.getLogger("aiokafka.consumer").debug("others are")
    assert "secret" not in stream.getvalue()
    assert "others are" in stream.getvalue()


def test_commands_leave_it_to_their_own_errors_what_the_client_says() -> None:
    stream = io.StringIO()
    set_up_logs("console", "warning", stream, client_level=logging.CRITICAL)
    for name in chain(("aiokafka",), ("aiokafka.conn", "aiokafka.cluster")):
        logging.getLogger(name).error("Unable to connect")
    assert stream.getvalue() == ""
