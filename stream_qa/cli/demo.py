"""``stream-qa demo``: broker, topics, worker and a marketplace's events in one go, with what is learned shown live."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.ports import free_port
from stream_qa.cli.client_log import quieten_client
from stream_qa.demo.progress import Progress
from stream_qa.demo.worker_process import worker_process
from stream_qa.errors import WorkerStartError
from stream_qa.replay.log import LogEvent, read_log
from stream_qa.replay.to_kafka import KafkaReplay, both
from stream_qa.settings import PREFIX, Settings, load_settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.topics import apply

_REFRESH_SECONDS = 0.25
_PATIENCE_SECONDS = 60
_APPLICATIONS_A_SECOND = 300
_APPLICATIONS_A_MEMBER = 40
_APPLICATIONS_A_JOB = 60
_INTERRUPTED = 128 + signal.SIGINT


def demo(
    seconds: Annotated[float, typer.Option(min=5, help="How long the marketplace's events are fed.")] = 35,
    seed: Annotated[int, typer.Option(min=0, help="The marketplace that is simulated.")] = 0,
) -> None:
    """Show it all: a real Kafka, a real worker, and coefficients being learned. Leaves nothing behind.

    Exit codes: 0 all was shown; 1 an error, and the logs are kept; 130 interrupted.

    Example: stream-qa demo --seconds 20
    """
    console = Console()
    directory = Path(tempfile.mkdtemp(prefix="stream-qa-demo-"))
    # Ended from outside is ended as by Ctrl-C: in order.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        _run(console, directory, seconds, seed)
    except KeyboardInterrupt:
        console.print("Stopped.")
        shutil.rmtree(directory)
        raise typer.Exit(_INTERRUPTED) from None
    except Exception:
        console.print(f"Something went wrong. The logs of the broker and the worker are in {directory}", soft_wrap=True)
        raise
    shutil.rmtree(directory)


def set_alone(environment: MutableMapping[str, str], settings: Mapping[str, str]) -> None:
    """Put settings into an environment in place of all that it has: those of whoever shows it are for other topics."""
    for name in [name for name in environment if name.startswith(PREFIX)]:
        del environment[name]
    environment.update(settings)


def _run(console: Console, directory: Path, seconds: float, seed: int) -> None:
    broker = DevelopmentBroker(
        directory / "broker", free_port(), report=lambda line: console.print(line, style="dim", soft_wrap=True)
    )
    environment = {
        f"{PREFIX}BROKER": broker.bootstrap,
        f"{PREFIX}DATA_DIRECTORY": str(directory / "state"),
        f"{PREFIX}WEB_PORT": str(free_port()),
    }
    set_alone(os.environ, environment)
    settings = load_settings()
    events = _simulate(directory / "marketplace.jsonl", settings, round(seconds * _APPLICATIONS_A_SECOND), seed)
    worker_log = directory / "worker.log"
    try:
        broker.up()
        asyncio.run(apply(settings.kafka, settings.topic_prefix, generation=settings.generation))
        console.print("Starting a worker: faust -A stream_qa.app worker", style="dim")
        with worker_process(environment, worker_log) as worker:
            progress = Progress(settings.topics)
            progress.count_events(events)

            def check() -> None:
                if worker.poll() is not None:
                    raise WorkerStartError(f"the worker ended with code {worker.returncode}; its log is {worker_log}")

            asyncio.run(_feed(console, settings, progress, events, seconds=seconds, check=check))
        console.print(f"\n{_summary(progress)}")
    finally:
        # A second Ctrl-C must not leave the broker behind; this takes a second or two.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        broker.down()


def _simulate(path: Path, settings: Settings, applications: int, seed: int) -> list[LogEvent]:
    """Write a small marketplace's log and read it back as any other."""
    members, jobs = applications // _APPLICATIONS_A_MEMBER, applications // _APPLICATIONS_A_JOB
    marketplace = Marketplace(members=members, jobs=jobs, applications=applications)
    history = simulate(marketplace, np.random.default_rng(seed))
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in history.events()))
    return read_log([path], settings.topics).events


async def _feed(
    console: Console,
    settings: Settings,
    progress: Progress,
    events: list[LogEvent],
    *,
    seconds: float,
    check: Callable[[], None],
) -> None:
    """Produce the events at a pace that takes ``seconds``, and show what becomes of them."""
    quieten_client()
    speed = (events[-1].time - events[0].time) / 1000 / seconds
    produced = asyncio.Event()
    started = time.monotonic()
    sent = 0

    def advance(count: int) -> None:
        nonlocal sent
        sent += count

    async def produce(replay: KafkaReplay) -> None:
        await replay.produce(events, speed, advance)
        produced.set()

    async with KafkaReplay(settings, progress) as replay:
        feeding = asyncio.create_task(both(produce(replay), replay.follow(produced, _PATIENCE_SECONDS)))
        try:
            with Live(console=console, auto_refresh=False) as live:
                while not feeding.done():
                    await asyncio.wait([feeding], timeout=_REFRESH_SECONDS)
                    check()
                    live.update(_view(progress, sent, len(events), time.monotonic() - started), refresh=True)
            feeding.result()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


def _view(progress: Progress, sent: int, total: int, seconds: float) -> Group:
    personalised, global_only = progress.aucs()
    kinds = progress.label_kinds
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_row("events", f"{sent} of {total}", f"{sent / max(seconds, 1):.0f} a second")
    table.add_row("labels", f"{sum(kinds.values())}", ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds)))
    table.add_row(
        "entities learned", f"{len(progress.entities)}", f"{progress.messages[progress.topics.coefficients]} deltas"
    )
    table.add_row("AUC personalised", _number(personalised), "of scores made before anything was known")
    table.add_row("AUC global only", _number(global_only), "the same applications without what was learned")
    return Group(table, Text("the newest deltas", style="bold"), *(Text(f"  {line}") for line in progress.last_deltas))


def _summary(progress: Progress) -> str:
    personalised, global_only = progress.aucs()
    return (
        f"{progress.summary()}. {len(progress.entities)} members and jobs have learned; scores made when applications "
        f"arrived have AUC {_number(personalised)} personalised and {_number(global_only)} by the global model alone."
    )


def _number(value: float | None) -> str:
    return "not yet" if value is None else f"{value:.3f}"
