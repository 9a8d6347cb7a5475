"""Write what follows from the code: pages of commands, errors and decisions, the topics' contract and Kubernetes."""

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from commands import ROOT, Command, groups_and_commands, help_of, is_group

from stream_qa import errors
from stream_qa.cli.failures import advice
from stream_qa.errors import StreamQAError
from stream_qa.events import TopicNames
from stream_qa.topics import load_declarations
from stream_qa.topics.contract import as_json, as_yaml, asyncapi, json_schemas
from stream_qa.topics.declaration import ASYNCAPI

REPOSITORY = Path(__file__).parents[1]

Parameter = Any
"""An option or argument of click."""

_REPLICAS = 3
_WRITTEN = "<!-- Written by `make pages`: change the code, not this page. -->\n"


def pages() -> dict[Path, str]:
    """Return what each of the pages must say."""
    docs = REPOSITORY / "docs"
    return {
        docs / "commands.md": commands_page(),
        docs / "errors.md": errors_page(),
        docs / "decisions" / "README.md": decisions_page(docs / "decisions"),
        **contract(),
        REPOSITORY / "deploy" / "kubernetes" / "topics.yaml": strimzi_topics(),
    }


def contract() -> dict[Path, str]:
    """Return what the files of the topics' contract must say."""
    directory = REPOSITORY / "topics"
    declarations = load_declarations(directory)
    schemas = {
        directory / "schemas" / f"{name}.json": as_json(schema) for name, schema in json_schemas(declarations).items()
    }
    return {**schemas, directory / ASYNCAPI: as_yaml(asyncapi(declarations, TopicNames()))}


def commands_page() -> str:
    """Return the page of all commands: what each does, its example, its arguments and options."""
    parts = [f"{_WRITTEN}\n# Commands\n", _prose(ROOT)]
    for name, command in groups_and_commands().items():
        parts.append(f"{'##' if ' ' not in name else '###'} `stream-qa {name}`\n")
        parts.append(_prose(command))
        if not is_group(command):
            parts.append(_parameters(command))
    return "\n".join(parts).rstrip() + "\n"


def _prose(command: Command) -> str:
    """Return a command's help as Markdown: its paragraphs on a line each, and its examples as code."""
    paragraphs = re.split(r"\n\n+", help_of(command))
    return "".join(f"{_paragraph(paragraph)}\n\n" for paragraph in paragraphs).rstrip() + "\n"


def _paragraph(text: str) -> str:
    if text.startswith("Example: "):
        return "\n".join(f"    {line.removeprefix('Example: ')}" for line in text.splitlines())
    return _marked(" ".join(text.split()))


def _parameters(command: Command) -> str:
    rows = [
        f"| `{_signature(each)}` | {_default(each)} | {_marked(each.help or '')} |"
        for each in command.params
        if not getattr(each, "hidden", False)
    ]
    return "\n".join(["| | by default | |", "|---|---|---|", *rows, ""]) if rows else ""


def _signature(parameter: Parameter) -> str:
    first = str(parameter.opts[0])
    value = first.removeprefix("--").replace("-", "_").upper()
    if not first.startswith("-"):
        return value + ("..." if parameter.nargs != 1 else "")
    return " / ".join([first, *parameter.secondary_opts[:1]]) if parameter.is_flag else f"{first} {value}"


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "must be given"
    shown = parameter.show_default
    default = shown if isinstance(shown, str) else parameter.default
    if parameter.secondary_opts and isinstance(default, bool):
        default = (parameter.opts if default else parameter.secondary_opts)[0]
    return "" if default is None or default is False or callable(default) else f"`{default}`"


def _marked(text: str) -> str:
    """Return text with what is typed as code, options, commands and settings; with links to pages, no cell's end."""
    outside = re.split(r"(`[^`]+`)", text.replace("|", "\\|"))
    typed = r"(?<![\w`-])(--[a-z][a-z-]*|STREAM_QA_(?:[A-Z_]*[A-Z]|\*)|stream-qa(?: [a-z][a-z-]*)+)"
    marked = "".join(part if part.startswith("`") else re.sub(typed, r"`\1`", part) for part in outside)
    return re.sub(r"docs/([a-z-]+)\.md(#[a-z-]+)?", r"[\1](\1.md\2)", marked)


def errors_page() -> str:
    """Return the page of all errors, as a tree: what each says, and what to do."""
    lines = [
        _WRITTEN,
        "# Errors\n",
        "What commands, workers and the scoring service say when they do not go on. A command prints the error's",
        "name, a sentence and what to do, and ends with [exit code](operations.md#exit-codes) 1. A worker logs it. The",
        "kinds of `RejectedError` stop nothing: the input is in the [dead letters](operations.md#dead-letters). An",
        "indented error is a kind of the one above.\n",
        "| error | what it is | what to do |",
        "|---|---|---|",
        *_rows(StreamQAError, 0),
    ]
    return "\n".join(lines) + "\n"


def _rows(error: type[StreamQAError], depth: int) -> list[str]:
    rows = []
    for kind in error.__subclasses__():
        if kind.__module__ == errors.__name__:
            what, do = _sentences(kind)
            rows.append(f"| {'&emsp;' * depth}`{kind.__name__}` | {what} | {do} |")
            rows += _rows(kind, depth + 1)
    return rows


def _sentences(error: type[StreamQAError]) -> tuple[str, str]:
    do = advice(error)
    whole = re.sub(r"\s+", " ", (error.__doc__ or "").replace("``", "`")).strip()
    return _marked(whole.removesuffix(do).strip()), _marked(do)


def decisions_page(directory: Path) -> str:
    """Return the list of all decisions, by their titles."""
    titles = {page.name: page.read_text().partition("\n")[0].removeprefix("# ") for page in directory.glob("0*.md")}
    lines = [
        _WRITTEN,
        "# Decisions\n",
        "What was decided where there was a choice, with the reasons and what would make us change it.",
        "Number 23 was not used.\n",
        *(f"- [{title}]({name})" for name, title in sorted(titles.items())),
    ]
    return "\n".join(lines) + "\n"


def strimzi_topics() -> str:
    """Return the declared topics as Strimzi's operator takes them, for a cluster of three brokers or more."""
    heading = """\
# Written by `make pages` from topics/: Strimzi's Topic Operator makes and configures them.
# Three replicas, of which two must have a record: a broker may be lost. `strimzi.io/cluster` is the name of your Kafka.
"""
    documents = [
        {
            "apiVersion": "kafka.strimzi.io/v1",
            "kind": "KafkaTopic",
            "metadata": {"name": topic.name, "labels": {"strimzi.io/cluster": "kafka"}},
            "spec": {
                "partitions": topic.partitions,
                "replicas": _REPLICAS,
                "config": {**topic.config, "min.insync.replicas": str(_REPLICAS - 1)},
            },
        }
        for topic in load_declarations()
    ]
    return heading + yaml.safe_dump_all(documents, sort_keys=False)


def main() -> None:
    """Write all pages, or with ``--check`` say which are not as the code has them."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        sys.exit("".join(f"{path.relative_to(REPOSITORY)} is not as the code: make pages\n" for path in stale) or 0)
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(pages()[path])


if __name__ == "__main__":
    main()
