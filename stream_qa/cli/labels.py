"""``stream-qa labels``: why an application has the label it has."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream_qa.cli.moments import in_words
from stream_qa.replay.explain import explain
from stream_qa.replay.log import read_log
from stream_qa.settings import load_settings
from stream_qa.stages.pipeline import build_pipeline

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
