"""``stream-qa labels``: why an application has the label it has, and all labels as files."""

import asyncio
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream_qa.cli.client_log import quieten_client
from stream_qa.cli.moments import FORMATS, in_words, milliseconds
from stream_qa.cli.progress import counted
from stream_qa.replay.explain import explain
from stream_qa.replay.log import read_log
from stream_qa.settings import Settings, load_settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.label_topic import label_batches
from stream_qa.training.label_files import LabelFiles, open_export

commands = typer.Typer(no_args_is_help=True, help="Labels and what they follow from.")


@commands.callback()
def _labels() -> None:
    """Labels and what they follow from."""


@commands.command("explain")
def explain_label(
    log: Annotated[Path, typer.Argument(help="An event log: JSON Lines, gzip if the name ends in .gz.")],
    application_id: Annotated[str, typer.Argument(help="The application.")],
    *,
    partitions: Annotated[int, typer.Option(min=1, help="How many partitions the topics have.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print the steps as JSON.")] = False,
) -> None:
    """Show an application's life in order: what was read of it, and each revision of its label with its cause.

    The policy is that of STREAM_QA_POLICY.

    Example: stream-qa labels explain log.jsonl.gz application-000042
    """
    settings = load_settings()
    console = Console(stderr=True)
    with console.status("replaying the log"):
        events = read_log([log], settings.topics).events
        steps = explain(build_pipeline(settings), events, application_id, partitions)
    if as_json:
        typer.echo(orjson.dumps(steps, option=orjson.OPT_INDENT_2))
        return
    table = Table("event time", "what", "which", "why", box=None, pad_edge=False)
    for step in steps:
        table.add_row(in_words(step["at"]), step["what"], _which(step), _why(step))
    Console().print(table, highlight=False)


@commands.command("export")
def export_labels(
    directory: Annotated[Path, typer.Argument(help="Where the files are, or are to be.")],
    *,
    until: Annotated[
        datetime | None,
        typer.Option(formats=FORMATS, help="UTC; labels that the broker got then or later are left for another time."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was added, and what there is, as JSON.")] = False,
) -> None:
    """Add the labels that are new in the topic to Parquet files, by the day on which what they say happened.

    It goes on where it was, also after it was killed; one at a time for a directory. Needs the extra `parquet`.

    Example: stream-qa labels export labels
    """
    quieten_client()
    settings = load_settings()
    with open_export(directory, settings.topics.labels) as files:
        before = files.manifest.labels
        refused = asyncio.run(_export(settings, files, None if until is None else milliseconds(until)))
        after = files.manifest
    if as_json:
        document = {
            "added": after.labels - before,
            "labels": after.labels,
            "not_labels": refused,
            "next_offsets": {str(partition): offset for partition, offset in sorted(after.next_offsets.items())},
        }
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    typer.echo(f"{after.labels - before} labels added: {after.labels} in {directory}")
    if refused:
        typer.echo(f"{refused} records that are no labels were left out")


async def _export(settings: Settings, files: LabelFiles, until: int | None) -> int:
    """Export what is new; return how many records are no labels."""
    refused = 0
    with counted(Console(stderr=True)) as progress:
        task = progress.add_task("labels", total=None)
        async with aclosing(label_batches(settings, files.manifest.next_offsets, until=until)) as batches:
            async for batch in batches:
                await asyncio.to_thread(files.add, batch)
                refused += batch.refused
                done = int(progress.tasks[task].completed) + len(batch.labels)
                progress.update(task, completed=done, total=done + batch.left)
    return refused


def _which(step: dict[str, Any]) -> str:
    match step:
        case {"label": label, "weight": weight, "final": final}:
            return f"{label}, weight {weight:g}{', final' if final else ''}"
        case {"kind": kind}:
            return str(kind)
        case {"member_id": member_id, "job_id": job_id}:
            return f"{member_id} to {job_id}"
        case _:
            return ""


def _why(step: dict[str, Any]) -> str:
    match step:
        case {"reason": reason, "happened_at": happened_at}:
            return f"{reason}, {in_words(happened_at)}"
        case {"reason": reason, "why": why}:
            return f"{reason}: {why}"
        case _:
            return ""
