"""``stream-qa simulate``: the event log of a synthetic marketplace whose truth is known."""

import gzip
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.progress import Progress

from stream_qa.cli.moments import milliseconds
from stream_qa.errors import LogError
from stream_qa.events.fields import MAX_FEATURES
from stream_qa.simulation import Marketplace
from stream_qa.simulation import simulate as simulate_marketplace
from stream_qa.simulation.marketplace import DEFAULT_START

_STDOUT = "-"
_PROGRESS_EVERY = 2_000
_DEFAULTS = Marketplace()


def simulate(
    out: Annotated[str, typer.Argument(help="The event log: JSON Lines, gzip if it ends in .gz; - is stdout.")],
    *,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and options give the same bytes.")] = 0,
    members: Annotated[
        int | None, typer.Option(min=1, help="Members. By default 2,400 for every 31,700 applications.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Jobs. By default 1,000 for every 31,700 applications.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Days on which members apply.")] = _DEFAULTS.days,
    applications: Annotated[
        int, typer.Option(min=1, help="Applications; a few less where members would apply to a job twice.")
    ] = _DEFAULTS.applications,
    features: Annotated[
        int, typer.Option(min=1, max=MAX_FEATURES, help="Features a side, without the intercept.")
    ] = _DEFAULTS.features,
    start: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], show_default="2026-01-05", help="First day, UTC.")
    ] = datetime.fromtimestamp(DEFAULT_START / 1000, UTC),  # noqa: B008 - a constant
    truth: Annotated[
        str | None, typer.Option(help="Where to write the truth behind each application, in the same way as the log.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written, as JSON, on stdout.")] = False,
) -> None:
    """Write the event log of a synthetic marketplace with known truth.

    Members and jobs come and go, their effects drift, recruiters answer late and in sessions or not at all. A line is
    the message of its topic with its type, application or engagement; lines are in the order of event time.

    Example: stream-qa simulate log.jsonl.gz --days 28 --applications 10000
    """
    destinations = [out, truth, _STDOUT if as_json else None]
    used = [destination for destination in destinations if destination is not None]
    if len(set(used)) != len(used):
        raise typer.BadParameter("the log, the truth and --json must go to different places")
    scale = applications / _DEFAULTS.applications
    marketplace = Marketplace(
        members=members or max(1, round(scale * _DEFAULTS.members)),
        jobs=jobs or max(1, round(scale * _DEFAULTS.jobs)),
        days=days,
        applications=applications,
        features=features,
        start=milliseconds(start),
    )
    with Progress(console=Console(stderr=True)) as progress:
        drawing = progress.add_task("drawing the marketplace", total=None)
        log = simulate_marketplace(marketplace, np.random.default_rng(seed))
        progress.update(drawing, total=1, completed=1)
        for destination, what, lines, count in (
            (out, "events", log.events, log.applied_at.size + log.engagements.kind.size),
            (truth, "truth", log.truth, log.applied_at.size),
        ):
            if destination is not None:
                task = progress.add_task(f"writing {what}", total=count)
                _write(destination, lines(), partial(progress.advance, task))
    if as_json:
        typer.echo(orjson.dumps(log.counts()))


def _write(destination: str, lines: Iterable[dict[str, object]], advance: Callable[[int], object]) -> None:
    number = 0
    try:
        with _opened(destination) as stream:
            for number, line in enumerate(lines, start=1):
                stream.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                if number % _PROGRESS_EVERY == 0:
                    advance(_PROGRESS_EVERY)
            advance(number % _PROGRESS_EVERY)
    except BrokenPipeError:
        # Whoever read stdout has seen enough: the command line ends quietly.
        raise
    except OSError as error:
        raise LogError(f"{destination} cannot be written: {error}") from error


@contextmanager
def _opened(destination: str) -> Iterator[BinaryIO]:
    if destination == _STDOUT:
        yield sys.stdout.buffer
        return
    with Path(destination).open("wb") as plain:
        if not destination.endswith(".gz"):
            yield plain
            return
        # Neither name nor time in the header: the same log is the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=plain, compresslevel=6, mtime=0) as compressed:
            yield cast("BinaryIO", compressed)
