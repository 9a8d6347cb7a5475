"""``stream-qa dead-letters``: input that could not be used: what there is, why, and sending it again."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import click
import orjson
import typer
from msgspec.structs import asdict
from rich.console import Console
from rich.table import Table

from stream_qa.cli.client_log import quieten_client
from stream_qa.cli.moments import FORMATS, in_words, milliseconds
from stream_qa.errors import NothingChosenError, UnknownLetterError
from stream_qa.events.dead_letter import DeadLetter, Selection
from stream_qa.settings import load_settings
from stream_qa.streaming import dead_letter_topic
from stream_qa.streaming.dead_letter_topic import Redrive

commands = typer.Typer(no_args_is_help=True, help="Input that could not be used: what there is, and sending it again.")

_LIST_AT_MOST = 50

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
Stage = Annotated[str | None, typer.Option(help="Only of this stage: label, member, job, notify.")]
Topic = Annotated[str | None, typer.Option(help="Only from this topic, with its prefix.")]
Reason = Annotated[str | None, typer.Option(help="Only with this error, such as NotJSONError.")]
Since = Annotated[datetime | None, typer.Option(formats=FORMATS, help="Only those kept then (UTC) or later.")]
Until = Annotated[datetime | None, typer.Option(formats=FORMATS, help="Only those kept before then (UTC).")]


@commands.command("list")
def list_letters(
    *,
    stage: Stage = None,
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that were not sent again.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = _LIST_AT_MOST,
    as_json: AsJSON = False,
) -> None:
    """List the newest dead letters, the newest last, with why they are there and whether they were sent again.

    Example: stream-qa dead-letters list --reason InvalidEventError --since 2026-11-01
    """
    quieten_client()
    chosen = _selection(stage, topic, reason, (since, until))
    found = asyncio.run(dead_letter_topic.lying(load_settings(), chosen))
    letters = [letter for letter in found.letters if not (waiting and found.is_redriven(letter))]
    shown = sorted(letters, key=lambda letter: (letter.kept_at, letter.partition, letter.offset))[-limit:]
    if as_json:
        documents = [_document(letter) | {"redriven": found.is_redriven(letter)} for letter in shown]
        typer.echo(orjson.dumps(documents, option=orjson.OPT_INDENT_2))
    else:
        table = Table("letter", "kept at", "stage", "from", "reason", "sent again", box=None, padding=(0, 1))
        for letter in shown:
            table.add_row(
                letter.name,
                in_words(letter.kept_at),
                letter.stage,
                f"{letter.source_topic}-{letter.source_partition}@{letter.source_offset}",
                f"{letter.reason}: {letter.message}",
                "yes" if found.is_redriven(letter) else "",
            )
        Console().print(table, markup=False, highlight=False)
    _say(f"{len(shown)} of {len(letters)} dead letters")
    if found.others:
        _say(f"{found.others} records of the topic are no dead letters")


@commands.command("show")
def show_letter(
    letter: Annotated[str, typer.Argument(help="PARTITION:OFFSET, as list names it.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print the value's bytes as they are, and nothing else.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Show one dead letter: why it is there, its key, its headers and its value.

    Bytes that are no text are shown with backslashes.

    Example: stream-qa dead-letters show 0:17
    """
    quieten_client()
    place, _ = _name(letter)
    found, record = asyncio.run(dead_letter_topic.letter_at(load_settings(), *place))
    if raw:
        click.get_binary_stream("stdout").write(record.value or b"")
        return
    document = {
        **_document(found),
        "key": _text(record.key),
        "headers": [[name, _text(value)] for name, value in record.headers],
        "value": _text(record.value),
    }
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    table = Table(box=None, show_header=False, padding=(0, 2), pad_edge=False)
    for name, value in document.items():
        if name == "headers":
            for header, said in document["headers"]:
                table.add_row(f"header {header}", str(said))
        else:
            table.add_row(name.replace("_", " "), in_words(value) if name == "kept_at" else str(value))
    Console(soft_wrap=True).print(table, markup=False, highlight=False)


@commands.command("redrive")
def redrive_letters(
    letters: Annotated[list[str] | None, typer.Argument(help="PARTITION:OFFSET, as list names them.")] = None,
    *,
    stage: Stage = None,
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[bool, typer.Option("--all", help="All, where no filter is given.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="How many at most, the oldest.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Send dead letters to the topic that they came from, bytes and key untouched; each of them once, ever.

    Killed at any moment and run again, it sends those that are left.

    Exit codes: 0 done, also where nothing was left to send; 1 an error, before which some may have been sent.

    Example: stream-qa dead-letters redrive --reason WrongPartitionError --dry-run
    """
    quieten_client()
    chosen = _selection(stage, topic, reason, (since, until), letters)
    if chosen == Selection() and not every:
        raise NothingChosenError("say which dead letters: PARTITION:OFFSET, a filter such as --reason, or --all")
    sent = 0

    def told(committed: Sequence[DeadLetter]) -> None:
        nonlocal sent
        sent += len(committed)
        _say(f"{sent} sent again")

    done = asyncio.run(dead_letter_topic.redrive(load_settings(), chosen, limit, dry_run=dry_run, told=told))
    if as_json:
        document = {
            "dry_run": dry_run,
            "sent": [_document(letter) for letter in done.sent],
            "left": done.left,
            "redriven_before": done.redriven_before,
            "not_ours": done.not_ours,
            "too_large": done.too_large,
        }
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    for letter in done.sent:
        typer.echo(f"{letter.name}  {letter.source_topic}  {letter.reason}")
    typer.echo(_in_words(done, dry_run=dry_run))


def _in_words(done: Redrive, *, dry_run: bool) -> str:
    said = [f"{len(done.sent)} {'would be sent' if dry_run else 'sent'} again"]
    if done.left:
        said.append(f"{done.left} left beyond the limit")
    if done.redriven_before:
        said.append(f"{done.redriven_before} were sent again before")
    if done.not_ours:
        said.append(f"{done.not_ours} come from no topic that workers read")
    if done.too_large:
        said.append(f"{done.too_large} are without their record, which is too large: it is where it came from")
    return ", ".join(said)


def _selection(
    stage: str | None,
    topic: str | None,
    reason: str | None,
    between: tuple[datetime | None, datetime | None],
    letters: Sequence[str] | None = None,
) -> Selection:
    since, until = (None if time is None else milliseconds(time) for time in between)
    return Selection(
        stage=stage,
        source_topic=topic,
        reason=reason,
        since=since,
        until=until,
        names=frozenset(_name(letter)[1] for letter in letters) if letters else None,
    )


def _name(letter: str) -> tuple[tuple[int, int], str]:
    """Return the place that a letter's name says, and the name as we write it."""
    partition, colon, offset = letter.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal()):
        raise UnknownLetterError(f"{letter!r} is not PARTITION:OFFSET")
    place = int(partition), int(offset)
    return place, f"{place[0]}:{place[1]}"


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {"letter": letter.name, **asdict(letter)}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")


def _say(sentence: str) -> None:
    Console(stderr=True).print(sentence, style="dim", highlight=False)
