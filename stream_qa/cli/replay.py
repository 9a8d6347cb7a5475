"""``stream-qa replay``: an event log through the stages, in this process or through a broker and its workers."""

import asyncio
import re
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress

from stream_qa.cli.client_log import quieten_client
from stream_qa.cli.progress import counted
from stream_qa.durations import MINUTE
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import Log, chunks, read_log
from stream_qa.replay.report import Report
from stream_qa.replay.to_kafka import KafkaReplay, both
from stream_qa.settings import Settings, load_settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.garbage import collect_rarely


def replay(
    logs: Annotated[list[Path], typer.Argument(help="Event logs: JSON Lines, gzip if the name ends in .gz.")],
    *,
    in_process: Annotated[bool, typer.Option("--in-process", help="Drive the stages here (the default).")] = False,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Produce to the input topics and wait for the workers.")
    ] = False,
    pace: Annotated[
        str, typer.Option(help="With --kafka: 1x is as it happened, 100x a hundred times as fast, max at once.")
    ] = "max",
    partitions: Annotated[int, typer.Option(min=1, help="In process: how many partitions the topics would have.")] = 4,
    chunk: Annotated[int, typer.Option(min=1, help="In process: the most events that are taken at once.")] = 1_000,
    chunk_minutes: Annotated[
        float,
        typer.Option(min=0, help="In process: the most event time that is taken at once; less is nearer to live."),
    ] = 60,
    out: Annotated[Path | None, typer.Option(help="Directory for what the stages emit, one file a topic.")] = None,
    patience: Annotated[
        float, typer.Option(min=1, help="With --kafka: give up when the workers do nothing for so many seconds.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts, as JSON, on stdout.")] = False,
) -> None:
    """Replay event logs in event-time order, whatever the order of lines and files.

    Example: stream-qa replay log.jsonl.gz --out emitted --json
    """
    if in_process and kafka:
        raise typer.BadParameter("--in-process and --kafka exclude each other")
    speed = _speed(pace)
    settings = load_settings()
    console = Console(stderr=True)
    with console.status("reading the log"):
        log = read_log(logs, settings.topics)
    with Report(settings.topics, out) as report, counted(console) as progress:
        report.count_events(log.events)
        if kafka:
            asyncio.run(_through_kafka(settings, log, report, progress, speed=speed, patience=patience))
        else:
            for message in log.dead_letters:
                report.add(message)
            collect_rarely()
            stages = InProcessReplay(build_pipeline(settings), partitions, report)
            task = progress.add_task("events", total=len(log.events))
            for part in chunks(log.events, chunk, round(chunk_minutes * MINUTE)):
                stages.run(part)
                progress.advance(task, len(part))
            report.without_effect.update(stages.without_effect)
            report.not_as_in_training += stages.findings.values()
    if as_json:
        typer.echo(orjson.dumps(report.counts(), option=orjson.OPT_INDENT_2))
    else:
        console.print(report.summary(), highlight=False)
        for sentence in report.not_as_in_training:
            console.print(f"not as it was in training: {sentence}", highlight=False, soft_wrap=True)


async def _through_kafka(
    settings: Settings, log: Log, report: Report, progress: Progress, *, speed: float | None, patience: float
) -> None:
    quieten_client()
    task = progress.add_task("produced", total=len(log.events))
    produced = asyncio.Event()
    async with KafkaReplay(settings, report) as through:

        async def produce() -> None:
            await through.keep(log.dead_letters)
            await through.produce(log.events, speed, lambda count: progress.advance(task, count))
            produced.set()
            progress.add_task("waiting for the workers", total=None)

        await both(produce(), through.follow(produced, patience))


def _speed(pace: str) -> float | None:
    """Return how many seconds of event time a second takes; ``None`` for all at once."""
    if pace == "max":
        return None
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)x", pace)
    if matched is None or float(matched[1]) == 0:
        raise typer.BadParameter("a pace is like 1x, 100x or max", param_hint="--pace")
    return float(matched[1])
