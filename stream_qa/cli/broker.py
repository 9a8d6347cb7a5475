"""``stream-qa broker``: a real Kafka for development, without a container engine or a Java installation."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stream_qa.broker import DevelopmentBroker

NOT_RUNNING = 3  # the exit code that service managers use for it

commands = typer.Typer(no_args_is_help=True)

Directory = Annotated[
    Path, typer.Option(help="Where the broker keeps its data, log and pid, e.g. --directory /tmp/kafka")
]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="Loopback port for clients, e.g. --port 19092")]
DeleteData = Annotated[
    bool, typer.Option("--delete-data", help="Delete all topics as well, e.g. broker down --delete-data")
]
AsJSON = Annotated[bool, typer.Option("--json", help="For programs, e.g. broker status --json | jq .running")]


def _report(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True).print(sentence, markup=False, highlight=False)


@commands.command()
def up(directory: Directory = Path(".broker"), port: Port = 9092) -> None:
    """Start a broker unless it runs, and print its address when it answers.

    Example: export STREAM_QA_BROKER=$(stream-qa broker up --port 19092)
    """
    broker = DevelopmentBroker(directory, port, report=_report)
    broker.up()
    typer.echo(broker.bootstrap)


@commands.command()
def down(directory: Directory = Path(".broker"), delete_data: DeleteData = False) -> None:
    """Stop the broker; its topics are kept for the next start unless told otherwise.

    Example: stream-qa broker down --delete-data
    """
    broker = DevelopmentBroker(directory, report=_report)
    _report("The broker is stopped." if broker.down() else f"No broker of {broker.directory} was running.")
    if delete_data:
        broker.delete_data()
        _report("Its data are deleted.")


@commands.command()
def status(directory: Directory = Path(".broker"), as_json: AsJSON = False) -> None:
    """Say whether the broker runs, and where.

    Exit codes: 0 it runs; 3 it does not.

    Example: stream-qa broker status --json
    """
    found = DevelopmentBroker(directory).status()
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), default=str))
    elif found.running:
        typer.echo(f"running at {found.bootstrap}, pid {found.pid}, log {found.log_file}")
    else:
        typer.echo(f"not running; its directory is {found.directory}")
    if not found.running:
        raise typer.Exit(NOT_RUNNING)
