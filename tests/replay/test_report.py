"""What a replay says of itself."""

from pathlib import Path

import orjson
from builders import START, application, as_record, engagement, label
from msgspec import structs

from stream_qa.errors import InvalidEventError, NotJSONError
from stream_qa.events import Label, Message, Record, TopicNames, dead_letter
from stream_qa.replay.log import LogEvent
from stream_qa.replay.report import Report

TOPICS = TopicNames()


def message(event: Label) -> Message:
    return Message(TOPICS.labels, event.member_id.encode(), event.model_dump_json().encode())


LABELS = [
    label("a"),
    label("a", revision=2, value=0, reason="explicit:rejection"),
    label("a", revision=3, value=0, final=True, reason="explicit:rejection"),
    label("b"),
    label("b", revision=2, value=1, final=True, reason="explicit:message"),
    label("c", value=0, weight=0.5, reason="silence:responded-later"),
]
DEAD_LETTERS = [
    dead_letter(TOPICS.dead_letters, "label", Record("applications", 0, 1, b"job-1", b"{"), NotJSONError("no")),
    dead_letter(TOPICS.dead_letters, "label", Record("applications", 0, 2, None, None), InvalidEventError("no")),
    dead_letter(
        TOPICS.dead_letters,
        "label",
        Record("applications", 0, 3, b"\xff", b"\xff", [("topic", b"mine"), ("null", None)]),
        InvalidEventError("no"),
    ),
]


def test_the_counts_of_a_replay() -> None:
    report = Report(TOPICS)
    report.without_effect["engagement after the window"] += 2
    for each in [*map(message, LABELS), *DEAD_LETTERS, Message(TOPICS.scores, b"m", b"{}")]:
        report.add(each)
    report.count_events(
        LogEvent(START, 0, b"{}", None, as_record(event).topic) for event in (application(), engagement(), engagement())
    )
    assert report.counts() == {
        "applications": 1,
        "engagements": 2,
        "labels": {
            "total": 6,
            "by_kind": {"negative": 2, "open": 2, "positive": 1, "provisional": 1},
            "by_reason": {
                "explicit:message": 1,
                "explicit:rejection": 2,
                "opened": 2,
                "silence:responded-later": 1,
            },
            "final": {"negative": 1, "positive": 1},
        },
        "scores": 1,
        "notifications": 0,
        "examples": 0,
        "deltas": 0,
        "snapshots": 0,
        "without_effect": {"engagement after the window": 2},
        "dead_letters": 3,
        "dead_letters_by_reason": {"InvalidEventError": 2, "NotJSONError": 1},
        "not_as_in_training": [],
    }


def test_a_report_that_saw_nothing_counts_nothing() -> None:
    counts = Report(TOPICS).counts()
    assert counts["labels"] == {"total": 0, "by_kind": {}, "by_reason": {}, "final": {}}
    assert counts["dead_letters_by_reason"] == {}


def test_what_was_emitted_is_one_file_a_topic(tmp_path: Path) -> None:
    emitted = tmp_path / "new" / "directory"
    with Report(TopicNames.with_prefix("eu-"), emitted) as report:
        report.add(structs.replace(message(LABELS[0]), topic="eu-labels"))
        report.add(Message("eu-coefficients", b"m", b'{"version":1}'))
        report.add(Message("eu-coefficient-snapshots", b"m", None))
    assert {path.name: path.read_bytes() for path in emitted.iterdir()} == {
        "labels.jsonl": LABELS[0].model_dump_json().encode() + b"\n",
        "coefficients.jsonl": b'{"version":1}\n',
        "coefficient-snapshots.jsonl": b"",
        "examples.jsonl": b"",
        "notifications.jsonl": b"",
        "scores.jsonl": b"",
        "dead-letters.jsonl": b"",
    }


def test_a_dead_letter_is_a_line_with_its_reason_and_its_bytes_as_text(tmp_path: Path) -> None:
    with Report(TOPICS, tmp_path) as report:
        for each in DEAD_LETTERS:
            report.add(each)
    first, second, third = map(orjson.loads, (tmp_path / "dead-letters.jsonl").read_bytes().splitlines())
    assert first == {
        "topic": "applications",
        "partition": "0",
        "offset": "1",
        "stage": "label",
        "exception.class.name": "stream_qa.errors.NotJSONError",
        "exception.message": "no",
        "key": "job-1",
        "value": "{",
    }
    assert (second["key"], second["value"]) == ("", "")
    assert (third["key"], third["value"], third["null"]) == ("\\xff", "\\xff", "")
    # The reason's own place is not hidden by a header that happens to have its name.
    assert third["topic"] == "applications"
