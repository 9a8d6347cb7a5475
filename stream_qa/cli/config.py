"""``stream-qa config``: what the settings are."""

import os
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream_qa.settings import PREFIX, Settings, load_settings

commands = typer.Typer(help="The settings: stream-qa config show", no_args_is_help=True)


@commands.callback()
def _commands() -> None:
    """Make a group even of one command."""


@commands.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """Show every setting, its value, and whether the environment or the default gives it.

    Example: STREAM_QA_BROKER=kafka:9092 stream-qa config show
    """
    values: dict[str, Any] = load_settings().model_dump(mode="json")
    if as_json:
        typer.echo(orjson.dumps(values, option=orjson.OPT_INDENT_2))
        return
    table = Table(box=None)
    table.add_column("variable", no_wrap=True)
    for column in ("value", "from", "what it is"):
        table.add_column(column)
    for name, value in values.items():
        variable = f"{PREFIX}{name.upper()}"
        source = "environment" if variable in os.environ else "default"
        table.add_row(variable, str(value), source, Settings.model_fields[name].description or "")
    Console().print(table)
