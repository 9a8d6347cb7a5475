"""The command line ``stream-qa``: one file a command group, all put together on this page."""

import platform
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from stream_qa import __version__
from stream_qa.cli import (
    broker,
    capacity,
    coefficients,
    config,
    dead_letters,
    demo,
    evaluate,
    labels,
    models,
    rebuild,
    replay,
    retrain,
    serve,
    simulate,
    status,
    topics,
    train,
)
from stream_qa.cli.failures import tell
from stream_qa.streaming.record_batches import read_what_brokers_take

TRACEBACK = "--traceback"

application = typer.Typer(name="stream-qa", no_args_is_help=True, pretty_exceptions_enable=False)


def _say_version(asked: bool) -> None:
    if asked:
        libraries = ", ".join(f"{name} {version(name)}" for name in ("faust-streaming", "aiokafka"))
        typer.echo(f"stream-qa {__version__} (Python {platform.python_version()}, {libraries})")
        raise typer.Exit


@application.callback()
def _every_command(
    _traceback: Annotated[  # main looks for it: an error may come before this is called
        bool, typer.Option(TRACEBACK, help="Show the traceback of an error, e.g. stream-qa --traceback topics plan")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version, and end.")
    ] = False,
) -> None:
    """A near-real-time learner for two-sided marketplaces.

    Settings are STREAM_QA_* variables: stream-qa config show. An error is one sentence and what to do, on stderr.

    Exit codes of all commands: 0 done; 1 an error; 2 the command line is wrong; 70 a bug. Some have more.
    """  # noqa: D401 # what people read when they ask for help
    read_what_brokers_take()


application.add_typer(broker.commands, name="broker", help="A real Kafka for development: stream-qa broker up")
application.add_typer(topics.commands, name="topics")
application.add_typer(config.commands, name="config")
application.add_typer(labels.commands, name="labels")
application.add_typer(models.commands, name="models")
application.add_typer(rebuild.commands, name="rebuild")
application.add_typer(coefficients.commands, name="coefficients")
application.add_typer(dead_letters.commands, name="dead-letters")
application.command()(capacity.capacity)
application.command()(simulate.simulate)
application.command()(replay.replay)
application.command()(train.train)
application.command()(retrain.retrain)
application.command()(evaluate.evaluate)
application.command()(serve.serve)
application.command()(status.status)
application.command()(demo.demo)


def main() -> None:
    """Run the command line: what goes wrong is told on stderr, with an exit code, and a traceback only if asked for."""
    try:
        application()
    except Exception as error:
        if TRACEBACK in sys.argv:
            raise
        sys.exit(tell(error))
