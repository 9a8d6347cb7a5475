"""Source events per CPU second and a second: one worker on a real broker, beside the same stages in one process.

    python benchmarks/throughput.py [--applications 60000 | --log LOG] [--rounds 3] [--json]

The same log goes through both, in turn, and their counts must agree before they are compared. It is in the input
topics before the worker starts, so that nothing but the worker and the broker runs while it is measured: CPU seconds
are of the worker process alone, from ready to done.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from measured_broker import measured_broker

from stream_qa.broker import DevelopmentBroker
from stream_qa.events import TopicNames
from stream_qa.replay.log import read_log
from stream_qa.replay.report import Report
from stream_qa.replay.to_kafka import KafkaReplay
from stream_qa.settings import Settings, load_settings

STREAM_QA = [sys.executable, "-m", "stream_qa"]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PARTITIONS = 4
LOOK_UP_SECONDS = 0.1
#: A worker that takes less than this of a core has nothing to do, in the background neither.
AT_REST = 0.1
REST_SECONDS = 2.0


def main() -> None:
    """Run the rounds and print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--applications", type=int, default=60_000)
    arguments.add_argument("--log", type=Path, help="a log of your own instead of a simulated one")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        log = options.log or Path(directory) / "log.jsonl"
        if options.log is None:
            stream_qa("simulate", str(log), "--applications", str(options.applications))
        events = len(read_log([log], TopicNames()).events)
        with measured_broker(Path(directory) / "broker") as broker:
            rounds = [one_round(broker, Path(directory), log, number, events) for number in range(options.rounds)]
    if options.json:
        print(json.dumps(rounds, indent=2))
    else:
        show(events, rounds)


def one_round(broker: DevelopmentBroker, directory: Path, log: Path, number: int, events: int) -> dict[str, Any]:
    """Return the figures of one round of both."""
    worker, worker_counts = through_worker(broker, directory / f"state-{number}", log, f"round-{number}-")
    in_process, counts = through_process(log)
    # Provisional labels may differ: they depend on the order in which the two inputs are read.
    if worker_counts["labels"]["final"] != counts["labels"]["final"] or worker_counts["scores"] != counts["scores"]:
        sys.exit(f"the counts differ: {worker_counts} and {counts}")
    return {
        name: {"events_per_cpu_second": events / cpu, "events_per_second": events / wall}
        for name, (cpu, wall, _) in (("worker", worker), ("in_process", in_process))
    }


class Spent(NamedTuple):
    """What workers have spent on a log, from when all are ready until all is done."""

    cpu: float
    """CPU seconds of all of them."""
    wall: float
    """Seconds."""
    memory: int = 0
    """Largest resident memory of one of them, in bytes."""


Prepare = Callable[[Settings], Awaitable[None]]


def through_worker(
    broker: DevelopmentBroker,
    state: Path,
    log: Path,
    prefix: str,
    *,
    partitions: int = PARTITIONS,
    workers: int = 1,
    prepare: Prepare | None = None,
) -> tuple[Spent, dict[str, Any]]:
    """Return what workers spend on a log, and the counts.

    ``prepare`` is done when there are topics. Then workers restore what it put there, and end when they are at rest.
    """
    environment = {
        **os.environ,
        "STREAM_QA_BROKER": broker.bootstrap,
        "STREAM_QA_APP_ID": f"{prefix}worker",
        "STREAM_QA_TOPIC_PREFIX": prefix,
        "STREAM_QA_WEB_ENABLED": "false",
        # A simulated log has as much in a day as a marketplace in seconds: cut by days, its chunks would be tiny.
        "STREAM_QA_REPLAY_STEP_HOURS": "0",
    }
    stream_qa("topics", "apply", "--yes", "--partitions", str(partitions), environment=environment)
    os.environ.update(environment)
    return asyncio.run(_through_workers(load_settings(), log, state, workers, prepare))


async def _through_workers(
    settings: Settings, log: Path, state: Path, workers: int, prepare: Prepare | None
) -> tuple[Spent, dict[str, Any]]:
    if prepare is not None:
        await prepare(settings)
        # What the first has in memory it writes when it ends, and the next brings in order.
        for _ in range(2):
            await _restore(state, workers)
    report = Report(settings.topics)
    async with KafkaReplay(settings, report) as replay:
        await replay.produce(read_log([log], settings.topics).events, speed=None)
        running = [await _begin(state, number) for number in range(workers)]
        try:
            for number, worker in enumerate(running):
                await _ready(worker, _output(state, number))
            before, started = [cpu_seconds(worker.pid) for worker in running], time.monotonic()
            while not await replay.is_done():
                await asyncio.sleep(LOOK_UP_SECONDS)
            spent = Spent(
                sum(cpu_seconds(worker.pid) for worker in running) - sum(before),
                time.monotonic() - started,
                max(most_memory(worker.pid) for worker in running),
            )
            produced = asyncio.Event()
            produced.set()
            await replay.follow(produced, patience=60)
            return spent, report.counts()
        finally:
            await _end(running)


async def _restore(state: Path, workers: int) -> None:
    """Let workers restore their tables, and RocksDB bring them in order: it does so long after they are ready."""
    running = [await _begin(state, number) for number in range(workers)]
    try:
        for number, worker in enumerate(running):
            await _ready(worker, _output(state, number))
        used = 2 * AT_REST * REST_SECONDS
        while used > AT_REST * REST_SECONDS:
            before = sum(cpu_seconds(worker.pid) for worker in running)
            await asyncio.sleep(REST_SECONDS)
            used = sum(cpu_seconds(worker.pid) for worker in running) - before
    finally:
        await _end(running)


async def _end(running: Sequence[asyncio.subprocess.Process]) -> None:
    for worker in running:
        worker.send_signal(signal.SIGTERM)
    for worker in running:
        await worker.wait()


async def _begin(state: Path, number: int) -> asyncio.subprocess.Process:
    """Start a worker with state of its own."""
    command = [sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker", "-l", "info"]
    environment = {**os.environ, "STREAM_QA_DATA_DIRECTORY": str(state / str(number))}
    state.mkdir(parents=True, exist_ok=True)
    with _output(state, number).open("w") as stream:
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=stream, stderr=stream)


def _output(state: Path, number: int) -> Path:
    return state / f"{number}.log"


async def _ready(worker: asyncio.subprocess.Process, output: Path) -> None:
    """Return when a worker has partitions and their state."""
    while "ready: partitions [" not in output.read_text() or "Worker ready" not in output.read_text():
        if worker.returncode is not None:
            sys.exit(f"the worker has ended:\n{output.read_text()}")
        await asyncio.sleep(LOOK_UP_SECONDS)


def through_process(log: Path) -> tuple[Spent, dict[str, Any]]:
    """Return CPU and wall seconds of the stages in one process of their own, and the counts."""
    program = (
        "import json, sys, time; from pathlib import Path\n"
        "from stream_qa.replay.in_process import InProcessReplay\n"
        "from stream_qa.replay.log import chunks, read_log\n"
        "from stream_qa.replay.report import Report\n"
        "from stream_qa.settings import Settings\n"
        "from stream_qa.stages.pipeline import build_pipeline\n"
        "from stream_qa.streaming.garbage import collect_rarely\n"
        "settings = Settings(); log = read_log([Path(sys.argv[1])], settings.topics); collect_rarely()\n"
        "report = Report(settings.topics)\n"
        f"stages = InProcessReplay(build_pipeline(settings), {PARTITIONS}, report)\n"
        "cpu, wall = time.process_time(), time.monotonic()\n"
        "for part in chunks(log.events, 5000, 10**12): stages.run(part)\n"
        "print(json.dumps([time.process_time() - cpu, time.monotonic() - wall, report.counts()]))\n"
    )
    cpu, wall, counts = json.loads(subprocess.check_output([sys.executable, "-c", program, str(log)]))
    return Spent(cpu, wall), counts


def show(events: int, rounds: list[dict[str, Any]]) -> None:
    """Print medians and spreads."""
    print(f"{events} source events, {PARTITIONS} partitions, {len(rounds)} rounds: median (lowest to highest)")
    for name in ("worker", "in_process"):
        for figure in ("events_per_cpu_second", "events_per_second"):
            values = sorted(done[name][figure] for done in rounds)
            print(f"{name:<11} {figure:<22} {statistics.median(values):9.0f} ({values[0]:.0f} to {values[-1]:.0f})")
    ratios = [done["worker"]["events_per_cpu_second"] / done["in_process"]["events_per_cpu_second"] for done in rounds]
    print(f"worker / in_process, events per CPU second: {statistics.median(ratios):.2f}")


def stream_qa(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run a command of ours and return what it prints."""
    return subprocess.run(
        [*STREAM_QA, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def most_memory(pid: int) -> int:
    """Return the largest resident memory that a process had, in bytes."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    main()
