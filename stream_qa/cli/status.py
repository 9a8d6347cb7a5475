"""``stream-qa status``: one screen that says how everything is."""

import asyncio
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream_qa.cli.client_log import quieten_client
from stream_qa.settings import load_settings
from stream_qa.streaming.status import Finding, Limits, findings

#: The exit code where something is not well.
UNWELL = 3


def status(
    worker: Annotated[
        list[str] | None, typer.Option(help="Address of a worker's web server, http://host:6066; may be repeated.")
    ] = None,
    *,
    most_lag: Annotated[int, typer.Option(min=0, help="Records that the stages together may be behind.")] = 10_000,
    most_letters: Annotated[int, typer.Option(min=0, help="Dead letters that there may be lately.")] = 0,
    minutes: Annotated[float, typer.Option(min=1, help="How long lately is.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Say how everything is: broker, topics, workers, lag, event time, dead letters and the newest model.

    Not well is a broker that does not answer, topics that are not as declared, a group without workers, too many
    records that wait, events that are more than an hour ahead of the clock, dead letters lately, and a worker that is
    not alive or not ready. The newest model never counts as not well: it is information.

    Exit codes: 0 all is well; 3 something is not; 1 an error, as settings that cannot be read.

    Example: stream-qa status --worker http://127.0.0.1:6066 --json
    """
    quieten_client()
    limits = Limits(most_lag, most_letters, minutes * 60)
    found = asyncio.run(findings(load_settings(), worker or [], limits))
    is_well = all(each.is_well for each in found)
    if as_json:
        document = {"well": is_well, "findings": [_document(each) for each in found]}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    else:
        _show(found)
    if not is_well:
        raise typer.Exit(UNWELL)


def _document(finding: Finding) -> dict[str, object]:
    return {"what": finding.what, "well": finding.is_well, "says": finding.says, **finding.figures}


def _show(found: list[Finding]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for each in found:
        sign, style = ("ok", "green") if each.is_well else ("!!", "bold red")
        table.add_row(f"[{style}]{sign}[/]", each.what, each.says)
    Console().print(table, highlight=False)
