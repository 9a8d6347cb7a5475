"""The contract of the topics: what AsyncAPI 3 asks for, every topic that others may read or write, and nothing stale.

That the files are as the code has them is said with the pages (tests/cli/test_walk.py).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from asyncapi3.models.asyncapi import AsyncAPI3
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

import stream_qa.events
from stream_qa.cli import application
from stream_qa.events import TopicNames
from stream_qa.topics import load_declarations
from stream_qa.topics.contract import asyncapi, json_schemas

DECLARATIONS = load_declarations()
TOPICS = Path(__file__).parents[2] / "topics"
DOCUMENT = asyncapi(DECLARATIONS, TopicNames())


def references(value: Any) -> list[str]:  # noqa: ANN401 # what JSON has
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for part in value.values() for found in references(part)]
    return [found for part in value for found in references(part)] if isinstance(value, list) else []


def pointed_at(reference: str) -> Any:  # noqa: ANN401 # what JSON has
    found: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def test_it_is_a_document_of_asyncapi_3() -> None:
    """By a library that knows nothing of ours; unknown fields are refused by it, those of Kafka's bindings too."""
    assert AsyncAPI3.model_validate(DOCUMENT).asyncapi == "3.0.0"


@pytest.mark.parametrize("place", ["info", "channels", "operations", "components"])
def test_the_library_refuses_what_is_misspelt(place: str) -> None:
    spoilt = json.loads(json.dumps(DOCUMENT))
    spoilt[f"{place}s"] = spoilt.pop(place)
    with pytest.raises(ValueError, match=place):
        AsyncAPI3.model_validate(spoilt)


def test_references_lead_somewhere() -> None:
    found = references(DOCUMENT)
    assert len(found) > 30
    assert all(isinstance(pointed_at(reference), dict) for reference in found)


def test_every_topic_but_the_changelogs_has_a_channel_with_its_message_and_its_key() -> None:
    public = [declaration for declaration in DECLARATIONS if not declaration.name.endswith("-changelog")]
    assert set(DOCUMENT["channels"]) == {declaration.name for declaration in public}
    for declaration in public:
        channel = DOCUMENT["channels"][declaration.name]
        [message] = (pointed_at(each["$ref"]) for each in channel["messages"].values())
        assert message["bindings"]["kafka"]["key"]["description"] == declaration.key
        assert channel["bindings"]["kafka"]["partitions"] == declaration.partitions
        assert channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] in (["delete"], ["compact"])
        if declaration.message != "bytes":
            assert message["payload"] == {"$ref": f"#/components/schemas/{declaration.message}"}


def test_what_producers_send_is_received_and_what_servers_follow_is_sent() -> None:
    operations = {(each["action"], each["channel"]["$ref"]) for each in DOCUMENT["operations"].values()}
    for name in ("applications", "engagements", "models"):
        assert ("receive", f"#/channels/{name}") in operations
        assert ("send", f"#/channels/{name}") not in operations
    for name in ("coefficients", "coefficient-snapshots", "notifications", "dead-letters"):
        assert ("send", f"#/channels/{name}") in operations
        assert ("receive", f"#/channels/{name}") not in operations


@pytest.mark.parametrize("name", sorted(json_schemas(DECLARATIONS)))
def test_a_schema_is_one_and_has_its_file(name: str) -> None:
    schema = json.loads((TOPICS / "schemas" / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == name
    assert hasattr(stream_qa.events, name)


def test_there_is_no_file_of_a_message_that_no_topic_has() -> None:
    assert {path.stem for path in (TOPICS / "schemas").iterdir()} == set(json_schemas(DECLARATIONS))


def test_the_command_prints_the_document_under_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_QA_TOPIC_PREFIX", "eu-")
    printed = CliRunner().invoke(application, ["topics", "asyncapi"])
    assert printed.exit_code == 0, printed.output
    document = yaml.safe_load(printed.stdout)
    assert document["channels"]["labels"]["address"] == "eu-labels"
    assert document["components"] == DOCUMENT["components"]
    as_json = CliRunner().invoke(application, ["topics", "asyncapi", "--json"])
    assert json.loads(as_json.stdout) == document
