"""Messages and readers of the last release go on with those of today.

``tests/data/schemas/VERSION`` has the schemas of a release and messages as its stages wrote them. A release adds one,
by ``python tests/written_messages.py tests/data/schemas/VERSION``; none is changed once its release is out.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from schema_compatibility import broken
from written_messages import written_messages

import stream_qa.events
from stream_qa.events import Decoder, Event
from stream_qa.topics import load_declarations
from stream_qa.topics.contract import json_schemas

RELEASES = sorted((Path(__file__).parents[1] / "data" / "schemas").iterdir())
TODAY = json_schemas(load_declarations())


@pytest.fixture(scope="module")
def messages() -> dict[str, list[Any]]:
    return written_messages()


def schemas_of(release: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in release.glob("*.json")}


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_no_message_of_a_release_is_other_than_it_was(release: Path) -> None:
    for name, schema in schemas_of(release).items():
        assert name in TODAY, f"{name} is gone"
        assert broken(schema, TODAY[name]) == [], name


def test_messages_of_today_are_what_their_schemas_say(messages: dict[str, list[Any]]) -> None:
    assert set(messages) == set(TODAY)
    for name, written in messages.items():
        for message in written:
            Draft202012Validator(TODAY[name]).validate(message)


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_readers_of_a_release_take_messages_of_today(release: Path, messages: dict[str, list[Any]]) -> None:
    for name, schema in schemas_of(release).items():
        assert messages[name]
        for message in messages[name]:
            Draft202012Validator(schema).validate(message)


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_messages_of_a_release_are_read_today(release: Path) -> None:
    read: defaultdict[str, int] = defaultdict(int)
    for line in (release / "messages.jsonl").read_bytes().splitlines():
        kept = orjson.loads(line)
        name, message = kept["schema"], kept["message"]
        Draft202012Validator(TODAY[name]).validate(message)
        [event] = Decoder(getattr(stream_qa.events, name)).decode([orjson.dumps(message)])
        assert isinstance(event, Event), event
        read[name] += 1
    assert set(read) == set(schemas_of(release))


OLD: dict[str, Any] = {
    "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"type": "string"}},
    "required": ["a"],
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"properties": {**OLD["properties"], "c": {"type": "string", "default": ""}}}, []),
        ({"properties": {**OLD["properties"], "b": {"type": "string", "description": "other words"}}}, []),
        ({"properties": {**OLD["properties"], "c": {}}, "required": ["a", "c"]}, ["c is required now"]),
        ({"properties": {"a": OLD["properties"]["a"]}}, ["b is gone"]),
        ({"properties": {**OLD["properties"], "a": {"type": "number", "minimum": 0}}}, ["a is not as it was"]),
        ({"properties": {**OLD["properties"], "a": {"type": "integer", "minimum": 1}}}, ["a is not as it was"]),
        ({"required": []}, ["a may be missing now"]),
    ],
)
def test_what_breaks_is_said(change: dict[str, Any], expected: list[str]) -> None:
    assert broken(OLD, OLD | change) == expected
