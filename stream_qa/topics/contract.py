"""What is on the topics, for machines: JSON Schemas of the messages, and an AsyncAPI document of all of it.

The changelogs are the workers' own and in neither.
"""

import json
from collections.abc import Sequence
from typing import Any

import yaml

import stream_qa.events
from stream_qa import __version__
from stream_qa.events import Event, TopicNames
from stream_qa.events.dead_letter import HEADERS
from stream_qa.topics.declaration import CLEANUP_POLICY, TopicDeclaration

Document = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BYTES = "bytes"
_DEAD_LETTER = "DeadLetter"
_VERBS = {"read": "receive", "write": "send"}
_WIDTH = 120


def json_schemas(declarations: Sequence[TopicDeclaration]) -> dict[str, Document]:
    """Return the JSON Schema of each message by its name; it is that of the record's value."""
    names = sorted({declaration.message for declaration in declarations} - {_BYTES})
    return {name: {"$schema": _DIALECT, **_model(name).model_json_schema()} for name in names}


def asyncapi(declarations: Sequence[TopicDeclaration], topics: TopicNames) -> Document:
    """Return the AsyncAPI 3 document of the declared topics, under the names that they have for a worker group.

    References
    ----------
    AsyncAPI 3.0.0, with the Kafka bindings of version 0.5.0.
    """
    public = [declaration for declaration in declarations if not declaration.name.endswith("-changelog")]
    schemas: Document = {}
    for name, schema in json_schemas(public).items():
        del schema["$schema"]
        schemas |= {**schema.pop("$defs", {}), name: schema}
    messages = {_message_name(declaration): _message(declaration) for declaration in public}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "stream_qa",
            "version": __version__,
            "description": "What the workers of one group receive and send. Read with isolation.level=read_committed: "
            "they write in transactions. Keys are UTF-8 text, partitions those of Kafka's default partitioner.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {declaration.name: _channel(declaration, topics) for declaration in public},
        "operations": {
            f"{_VERBS[what]}-{declaration.name}": _operation(declaration, _VERBS[what])
            for declaration in public
            for what in declaration.workers
        },
        "components": {"messages": messages, "schemas": _within_components(schemas)},
    }


def as_json(document: Document) -> str:
    """Return a document as the files have it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_yaml(document: Document) -> str:
    """Return a document as the file has it."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=_WIDTH)


def _model(name: str) -> type[Event]:
    model: type[Event] = getattr(stream_qa.events, name)
    return model


def _message_name(declaration: TopicDeclaration) -> str:
    return _DEAD_LETTER if declaration.message == _BYTES else declaration.message


def _channel(declaration: TopicDeclaration, topics: TopicNames) -> Document:
    name = _message_name(declaration)
    return {
        "address": topics.of_declared(declaration.name),
        "description": declaration.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {
            "kafka": {
                "partitions": declaration.partitions,
                "replicas": declaration.replication_factor,
                "topicConfiguration": {key: _typed(key, value) for key, value in declaration.config.items()},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _typed(key: str, value: str) -> object:
    """Return a topic's setting as the binding has it: the ways of cleaning as a list, numbers as numbers."""
    if key == CLEANUP_POLICY:
        return [value]
    return int(value) if value.isdecimal() else value


def _operation(declaration: TopicDeclaration, action: str) -> Document:
    channel = f"#/channels/{declaration.name}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{_message_name(declaration)}"}],
    }


def _message(declaration: TopicDeclaration) -> Document:
    key = {"kafka": {"key": {"type": "string", "description": declaration.key}, "bindingVersion": "0.5.0"}}
    if declaration.message == _BYTES:
        headers = {name: {"type": "string", "description": what} for name, what in HEADERS.items()}
        return {
            "summary": declaration.description,
            "contentType": "application/octet-stream",
            "headers": {"type": "object", "properties": headers, "required": list(headers)},
            "bindings": key,
        }
    summary, _, _ = (_model(declaration.message).__doc__ or "").partition("\n")
    return {"summary": summary, "payload": {"$ref": f"#/components/schemas/{declaration.message}"}, "bindings": key}


def _within_components(value: Any) -> Any:  # noqa: ANN401 # what JSON has
    """Return schemas whose references to each other are those within the document."""
    if isinstance(value, dict):
        return {
            name: part.replace("#/$defs/", "#/components/schemas/") if name == "$ref" else _within_components(part)
            for name, part in value.items()
        }
    return [_within_components(part) for part in value] if isinstance(value, list) else value
