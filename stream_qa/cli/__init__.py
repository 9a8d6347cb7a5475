"""The command line ``stream-qa``: one file a command group, all put together on this page."""

import sys

import typer
from aiokafka.errors import KafkaError
from rich.console import Console

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
    replay,
    serve,
    simulate,
    topics,
    train,
)
from stream_qa.errors import StreamQAError

application = typer.Typer(
    name="stream-qa",
    help="A near-real-time learner for two-sided marketplaces.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


application.add_typer(broker.commands, name="broker", help="A real Kafka for development: stream-qa broker up")
application.add_typer(topics.commands, name="topics")
application.add_typer(config.commands, name="config")
application.add_typer(labels.commands, name="labels")
application.add_typer(models.commands, name="models")
application.add_typer(coefficients.commands, name="coefficients")
application.add_typer(dead_letters.commands, name="dead-letters")
application.command()(capacity.capacity)
application.command()(simulate.simulate)
application.command()(replay.replay)
application.command()(train.train)
application.command()(evaluate.evaluate)
application.command()(serve.serve)
application.command()(demo.demo)


def main() -> None:
    """Run the command line: an error of ours is one sentence on stderr and exit code 1, never a traceback."""
    try:
        application()
    except (StreamQAError, KafkaError) as error:
        Console(stderr=True, soft_wrap=True).print(
            f"{type(error).__name__}: {error}", style="red", markup=False, highlight=False
        )
        sys.exit(1)
