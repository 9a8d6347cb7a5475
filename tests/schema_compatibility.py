"""What a change of a message's schema breaks: for readers of the last release, and for its messages in the topics."""

from typing import Any

Schema = dict[str, Any]
_WORDS = ("title", "description", "$schema", "default")


def broken(old: Schema, new: Schema) -> list[str]:
    """Return what is no longer compatible, both ways: nothing where only optional fields came.

    Readers of the old schema must take new messages, and readers of the new one old messages. A field whose values are
    narrower breaks the second, one whose values are wider the first; so a field stays as it is.
    """
    found = [f"{name} is gone" for name in old["properties"] if name not in new["properties"]]
    found += [
        f"{name} is not as it was"
        for name, field in old["properties"].items()
        if name in new["properties"]
        and _meaning(_resolved(field, old)) != _meaning(_resolved(new["properties"][name], new))
    ]
    were, are = set(old.get("required", [])), set(new.get("required", []))
    found += [f"{name} is required now" for name in sorted(are - were)]
    return found + [f"{name} may be missing now" for name in sorted(were - are)]


def _resolved(value: Any, schema: Schema) -> Any:  # noqa: ANN401 # what JSON has
    """Return a part of a schema with what it refers to in the place of references."""
    if isinstance(value, dict):
        if "$ref" in value:
            return _resolved(schema["$defs"][value["$ref"].removeprefix("#/$defs/")], schema)
        return {name: _resolved(part, schema) for name, part in value.items()}
    return [_resolved(part, schema) for part in value] if isinstance(value, list) else value


def _meaning(value: Any) -> Any:  # noqa: ANN401 # what JSON has
    """Return a part of a schema without what is only words."""
    if isinstance(value, dict):
        return {
            name: {field: _meaning(one) for field, one in part.items()} if name == "properties" else _meaning(part)
            for name, part in value.items()
            if name not in _WORDS
        }
    return [_meaning(part) for part in value] if isinstance(value, list) else value
