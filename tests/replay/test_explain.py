"""An application's life, told from a log."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from builders import DAY, START, application, engagement
from typer.testing import CliRunner

from stream_qa.cli import application as command
from stream_qa.errors import UnknownApplicationError
from stream_qa.events import Application, TopicNames
from stream_qa.events.fields import Event
from stream_qa.replay.explain import explain
from stream_qa.replay.log import read_log
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline

CLOCK = [application("clock", applied_at=START + 20 * DAY), engagement("note", engaged_at=START + 20 * DAY)]
LIFE: list[Event] = [
    application(),
    application("later", applied_at=START + DAY),
    engagement(application_id="later", engaged_at=START + 2 * DAY),
    engagement("rejection", engaged_at=START + 3 * DAY, engagement_id="e-1"),
    engagement("message", engaged_at=START + 4 * DAY, engagement_id="e-1"),
    *CLOCK,
]


def log(path: Path, events: Sequence[Event]) -> Path:
    lines = [
        {"type": "application" if isinstance(event, Application) else "engagement", **event.model_dump()}
        for event in events
    ]
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return path


def test_a_life_has_what_was_read_and_each_revision_with_its_cause(tmp_path: Path) -> None:
    events = read_log([log(tmp_path / "log.jsonl", LIFE)], TopicNames()).events
    steps = explain(build_pipeline(Settings()), events, "application-1", partitions=4)
    assert [(step["what"], (step["at"] - START) // DAY, step.get("reason", step.get("kind"))) for step in steps] == [
        ("application", 0, None),
        ("revision 1", 0, "opened"),
        ("revision 2", 2, "silence:later-response"),
        ("engagement", 3, "rejection"),
        ("revision 3", 3, "explicit:rejection"),
        ("engagement", 4, "message"),
        ("dead letter", 4, "ConflictingDuplicateError"),
        ("revision 4", 14, "explicit:rejection"),
        ("engagement", 20, "note"),
    ]
    assert [step.get("final") for step in steps if step["what"].startswith("revision")] == [False, False, False, True]


def test_a_dead_letter_stands_where_its_event_happened_whatever_else_it_brings(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", LIFE)
    path.write_bytes(path.read_bytes().replace(b'"engaged_at"', b'"applied_at":"2026-01-05","engaged_at"'))
    steps = explain(build_pipeline(Settings()), read_log([path], TopicNames()).events, "application-1", partitions=4)
    assert [step["at"] for step in steps if step["what"] == "dead letter"] == [START + 4 * DAY]


def test_an_application_that_the_log_does_not_have_is_said_so(tmp_path: Path) -> None:
    events = read_log([log(tmp_path / "log.jsonl", LIFE)], TopicNames()).events
    with pytest.raises(UnknownApplicationError, match="no application elsewhere"):
        explain(build_pipeline(Settings()), events, "elsewhere", partitions=4)


def test_the_command_prints_it_for_people_and_for_programs(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", LIFE)
    for_people = CliRunner().invoke(command, ["labels", "explain", str(path), "application-1"])
    assert for_people.exit_code == 0
    assert "explicit:rejection" in for_people.output
    for_programs = CliRunner().invoke(command, ["labels", "explain", str(path), "application-1", "--json"])
    assert len(orjson.loads(for_programs.stdout)) == 9
