"""Event logs: from files of lines to events in the order of event time, and to dead letters with their place."""

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from builders import START, application, engagement

from stream_qa.errors import LogError
from stream_qa.events import Application, Decoder, Engagement, TopicNames
from stream_qa.events.fields import MAX_EVENT_TIME, Event
from stream_qa.replay.log import Log, LogEvent, chunks, read_log

TOPICS = TopicNames()


def line(event: Event) -> bytes:
    """Return an event as a line of a log."""
    kind = "application" if isinstance(event, Application) else "engagement"
    return orjson.dumps({"type": kind, **event.model_dump()})


def written(path: Path, lines: Sequence[bytes]) -> Path:
    content = b"".join(each + b"\n" for each in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path: Path, *lines: bytes) -> Log:
    return read_log([written(path, lines)], TOPICS)


def events_of(log: Log) -> list[Event]:
    """Return a log's events, decoded as the stages would."""
    decoders = {TOPICS.applications: Decoder(Application), TOPICS.engagements: Decoder(Engagement)}
    events = [decoders[event.topic].decode([event.value])[0] for event in log.events]  # type: ignore[attr-defined]
    assert all(isinstance(event, Event) for event in events), events
    return events


HISTORY: list[Event] = [
    application("application-1", applied_at=START),
    application("application-2", applied_at=START + 1, global_log_odds=0.1),
    engagement("message", application_id="application-2", engaged_at=START + 1),
    engagement("rejection", application_id="application-1", engaged_at=START + 2, engagement_id="engagement-1"),
    application("application-3", applied_at=START + 3),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def test_a_line_is_the_message_of_its_topic_with_a_type(path: Path) -> None:
    log = read(path, *map(line, HISTORY))
    assert events_of(log) == HISTORY
    assert log.dead_letters == []
    assert [event.topic for event in log.events[:3]] == ["applications", "applications", "engagements"]
    assert {event.key for event in log.events} == {b"job-1"}
    assert all(b'"type"' not in event.value for event in log.events)


def test_several_files_are_one_log_and_those_ending_in_gz_are_unpacked(tmp_path: Path) -> None:
    first = written(tmp_path / "applications.jsonl.gz", [line(e) for e in HISTORY if isinstance(e, Application)])
    second = written(tmp_path / "engagements.jsonl", [line(e) for e in HISTORY if isinstance(e, Engagement)])
    assert events_of(read_log([first, second], TOPICS)) == HISTORY
    assert read_log([second, first], TOPICS) == read_log([first, second], TOPICS)


def test_a_shuffled_log_gives_the_same_events(path: Path) -> None:
    simultaneous = [engagement(kind, engaged_at=START + 1) for kind in ("offer", "message", "note")]
    lines = [line(event) for event in (*HISTORY, *simultaneous)]
    in_order = read(path, *lines)
    for seed in range(5):
        random.Random(seed).shuffle(lines)  # noqa: S311 - the order of a test
        assert read(path, *lines) == in_order


def test_an_application_comes_before_an_engagement_of_the_same_moment(path: Path) -> None:
    applied, engaged = application(applied_at=START), engagement(engaged_at=START)
    assert events_of(read(path, line(engaged), line(applied))) == [applied, engaged]


def test_empty_lines_and_an_empty_file_say_nothing(path: Path) -> None:
    assert read(path, b"", line(HISTORY[0]), b"  ", b"\r").events == read(path, line(HISTORY[0]) + b"\r").events
    assert read(path) == Log([], [])
    assert read_log([], TOPICS) == Log([], [])


def test_the_prefix_of_the_topics_is_kept(path: Path) -> None:
    topics = TopicNames.with_prefix("eu-")
    log = read_log([written(path, [line(HISTORY[0]), b"{"])], topics)
    assert (log.events[0].topic, log.dead_letters[0].topic) == ("eu-applications", "eu-dead-letters")


@pytest.mark.parametrize(
    ("unreadable", "error"),
    [
        (b"{", "NotJSONError"),
        (b"\xff", "NotJSONError"),
        (b'{"type": "application", "global_log_odds": NaN}', "NotJSONError"),
        (b"[1]", "InvalidEventError"),
        (b"null", "InvalidEventError"),
        (b"{}", "InvalidEventError"),
        (b'{"type": "label"}', "InvalidEventError"),
        (b'{"type": ["application"]}', "InvalidEventError"),
        (b'{"type": "application", "unknown": ' + b"[" * 300 + b"]" * 300 + b"}", "InvalidEventError"),
    ],
)
def test_an_unreadable_line_is_a_dead_letter_with_its_file_and_line_number(
    path: Path, unreadable: bytes, error: str
) -> None:
    log = read(path, line(HISTORY[0]), b"", unreadable, line(HISTORY[1]))
    assert events_of(log) == HISTORY[:2]
    [dead] = log.dead_letters
    headers = dict(dead.headers)
    assert (dead.topic, dead.key, dead.value) == ("dead-letters", None, unreadable)
    assert (headers["__connect.errors.topic"], headers["__connect.errors.offset"]) == (b"log.jsonl", b"3")
    assert headers["__connect.errors.stage"] == b"replay"
    assert headers["__connect.errors.exception.class.name"] == f"stream_qa.errors.{error}".encode()


@pytest.mark.parametrize("moment", [None, "soon", 1.5, True, -1, MAX_EVENT_TIME + 1, 10**30, [], {}])
def test_an_event_without_a_usable_time_stays_where_it_stood_for_the_stages_to_reject(
    path: Path, moment: object
) -> None:
    broken = orjson.loads(line(application("broken")))
    broken["applied_at"] = moment if not isinstance(moment, int) or moment < 2**63 else float(moment)
    log = read(path, line(HISTORY[0]), line(HISTORY[1]), orjson.dumps(broken), *map(line, HISTORY[2:]))
    # After the application before it, so before the engagement of that moment.
    assert [event.time for event in log.events] == [START, START + 1, START + 1, START + 1, START + 2, START + 3]
    position = next(index for index, event in enumerate(log.events) if b"broken" in event.value)
    assert position in (1, 2)
    [rejected] = Decoder(Application).decode([log.events[position].value])
    assert not isinstance(rejected, Application)
    assert log.dead_letters == []


def test_an_event_without_a_job_has_no_key(path: Path) -> None:
    log = read(path, b'{"type": "engagement", "job_id": 7}')
    assert log.events == [LogEvent(0, 1, b'{"job_id":7}', None, "engagements")]


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.jsonl.gz"])
def test_a_missing_file_is_a_log_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogError, match=rf"^the log .*{name} cannot be read: .*No such file"):
        read_log([tmp_path / name], TOPICS)


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError):
        read_log([tmp_path], TOPICS)


def test_a_truncated_or_broken_gzip_file_is_a_log_error(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    lines = [line(application(f"application-{number}", applied_at=START + number**3)) for number in range(2_000)]
    content = gzip.compress(b"\n".join(lines))
    middle = len(content) // 2
    flipped = content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 64]) + content[middle + 64 :]
    for broken in (
        content[:middle],
        content[:-4],
        content[:5],
        b"no gzip at all",
        flipped,
        content[:10] + b"\xff" * 99,
    ):
        path.write_bytes(broken)
        with pytest.raises(LogError, match="cannot be read"):
            read_log([path], TOPICS)


def event_at(moment: int) -> LogEvent:
    return LogEvent(moment, 0, b"{}", None, "applications")


def times(cut: list[list[LogEvent]]) -> list[list[int]]:
    return [[event.time for event in chunk] for chunk in cut]


def test_chunks_are_bounded_in_events_and_in_event_time() -> None:
    events = [event_at(moment) for moment in (0, 1, 2, 3, 10, 15, 16, 100)]
    assert times(list(chunks(events, most=3, longest=5))) == [[0, 1, 2], [3], [10, 15], [16], [100]]
    assert times(list(chunks(events, most=100, longest=1_000))) == [[0, 1, 2, 3, 10, 15, 16, 100]]
    assert times(list(chunks(events, most=1, longest=0))) == [[0], [1], [2], [3], [10], [15], [16], [100]]
    assert list(chunks([], most=3, longest=5)) == []
