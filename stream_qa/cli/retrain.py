"""``stream-qa retrain``: a candidate from the labels, published if it is better than the bundle in use."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from stream_qa.cli.client_log import quieten_client
from stream_qa.cli.failures import tell
from stream_qa.cli.moments import FORMATS, milliseconds
from stream_qa.errors import StreamQAError
from stream_qa.events import PublishedModel
from stream_qa.labels import load_policy
from stream_qa.retraining.candidate import GlobalChoice
from stream_qa.retraining.gate import Gate
from stream_qa.retraining.report import Outcome, Verdict
from stream_qa.retraining.retrain import Options, Retraining
from stream_qa.retraining.shelf import Shelf
from stream_qa.settings import Settings, load_settings
from stream_qa.streaming import model_topic
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.streaming.label_topic import label_batches
from stream_qa.streaming.publications import publications
from stream_qa.training.label_files import check_parquet, exported_labels
from stream_qa.training.label_log import LabelLog

REFUSED = 3

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def retrain(
    directory: Annotated[Path, typer.Argument(help="Where bundles and reports are kept, one directory for a group.")],
    *,
    labels: Annotated[
        Path | None,
        typer.Option(help="An export of the labels (stream-qa labels export) to read instead of the topic."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=FORMATS, help="UTC; what happened then or later is not looked at. By default all counts."),
    ] = None,
    held_back_days: Annotated[
        int, typer.Option(min=1, help="The last days whose labels are final: nobody trains on them, both are tried.")
    ] = 7,
    margin: Annotated[
        float,
        typer.Option(
            help="By how much log-loss must be lower, at the low end of the 95% interval. A negative margin accepts a "
            "candidate that is worse by up to this much."
        ),
    ] = 0.0005,
    least_applications: Annotated[
        int, typer.Option(min=1, help="Applications held back, below which nothing is promoted.")
    ] = 500,
    least_of_a_label: Annotated[
        int, typer.Option(min=1, help="Positives, and negatives, held back, below which nothing is promoted.")
    ] = 50,
    global_after_days: Annotated[
        float, typer.Option(min=0, help="The age from which on the global model is trained anew; else it is kept.")
    ] = 28,
    global_model: Annotated[
        GlobalChoice, typer.Option(help="What it is then: like the incumbent's, logistic regression, or trees.")
    ] = GlobalChoice.LIKE_INCUMBENT,
    keep: Annotated[
        int, typer.Option(min=2, help="How many bundles stay: of those that were published, and of the others.")
    ] = 7,
    location: Annotated[
        Path | None, typer.Option(help="DIRECTORY as workers see it, where that is another path.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Again and again, for example every 24h; by default once, for a scheduler.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a candidate on the labels, try it and the incumbent on days held back, and publish it only if it is better.

    The candidate has the incumbent's feature scales. Reports are in DIRECTORY/reports, bundles in DIRECTORY/VERSION.
    Killed at any moment it leaves the incumbent in use, or has published the candidate, and can be run again.

    Exit codes: 0 the candidate was promoted; 3 it was refused, or there is not enough to train on or to try it on yet;
    1 an error: the incumbent stays, unless it came after the candidate was published (stream-qa models list).

    Example: stream-qa retrain models --held-back-days 7
    """
    quieten_client()
    seconds = None if every is None else _period(every)
    if labels is not None:
        check_parquet()
    options = Options(
        until=None if until is None else milliseconds(until),
        held_back_days=held_back_days,
        global_after_days=global_after_days,
        global_choice=global_model,
        keep=keep,
        gate=Gate(margin, least_applications, least_of_a_label),
        location=location,
    )
    if seconds is None:
        outcome = once(directory, labels, options)
        _show(outcome, as_json=as_json)
        if outcome.verdict is Verdict.REFUSED:
            raise typer.Exit(REFUSED)
        return
    while True:
        began = time.monotonic()
        try:
            _show(once(directory, labels, options), as_json=as_json)
        except (StreamQAError, KafkaError, OSError) as error:
            # The next time may find the broker, or the disk, in order again.
            tell(error)
        time.sleep(max(0.0, began + seconds - time.monotonic()))


def once(
    directory: Path, labels: Path | None, options: Options, told: Callable[[str], object] = lambda _step: None
) -> Outcome:
    """Retrain by the settings of the environment; ``told`` is told of every step that is done."""
    settings = load_settings()
    shelf = Shelf(directory)
    log = LabelLog(settings.topics, load_policy(settings.policy))
    console = Console(stderr=True)
    collect_rarely()
    with console.status("reading the labels"):
        if labels is None:
            asyncio.run(_read(settings, log))
        else:
            for label in exported_labels(labels):
                log.add(label)
    console.print(f"{log.labels} labels read", highlight=False)

    def done(step: str) -> None:
        console.print(step, highlight=False)
        told(step)

    def publish(model: PublishedModel) -> int:
        return asyncio.run(model_topic.publish(settings.kafka, settings.topics.models, model))

    return Retraining(
        settings,
        options,
        shelf,
        log,
        standing=lambda: asyncio.run(publications(settings)),
        publish=publish,
        told=done,
    ).run()


async def _read(settings: Settings, log: LabelLog) -> None:
    async with aclosing(label_batches(settings)) as batches:
        async for batch in batches:
            for placed in batch.labels:
                log.add(placed.label)


def _show(outcome: Outcome, *, as_json: bool) -> None:
    typer.echo(outcome.to_json() if as_json else outcome.to_markdown())


def _period(text: str) -> float:
    """Return the seconds of something like 24h."""
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if matched is None or float(matched[1]) == 0:
        raise typer.BadParameter("a period is like 30m, 24h or 7d", param_hint="--every")
    return float(matched[1]) * _SECONDS[matched[2]]
