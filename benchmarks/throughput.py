"""Source events a CPU second and a second: one worker on a real broker, beside the same stages in one process.

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
from pathlib import Path
from typing import Any

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.ports import free_port
from stream_qa.events import TopicNames
from stream_qa.replay.log import read_log
from stream_qa.replay.report import Report
from stream_qa.replay.to_kafka import KafkaReplay
from stream_qa.settings import Settings, load_settings

STREAM_QA = [sys.executable, "-c", "from stream_qa.cli import main; main()"]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PARTITIONS = 4
LOOK_UP_SECONDS = 0.1


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
        broker = DevelopmentBroker(Path(directory) / "broker", free_port())
        broker.up()
        try:
            rounds = [one_round(broker, Path(directory), log, number, events) for number in range(options.rounds)]
        finally:
            broker.down()
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
        for name, (cpu, wall) in (("worker", worker), ("in_process", in_process))
    }


def through_worker(
    broker: DevelopmentBroker, state: Path, log: Path, prefix: str
) -> tuple[tuple[float, float], dict[str, Any]]:
    """Return the worker's CPU and wall seconds for the log, and the counts."""
    environment = {
        **os.environ,
        "STREAM_QA_BROKER": broker.bootstrap,
        "STREAM_QA_APP_ID": f"{prefix}worker",
        "STREAM_QA_TOPIC_PREFIX": prefix,
        "STREAM_QA_DATA_DIRECTORY": str(state),
        "STREAM_QA_WEB_ENABLED": "false",
        # A simulated log has as much in a day as a marketplace in seconds: cut by days, its chunks would be tiny.
        "STREAM_QA_REPLAY_STEP_HOURS": "0",
    }
    stream_qa("topics", "apply", "--partitions", str(PARTITIONS), environment=environment)
    os.environ.update(environment)
    return asyncio.run(_through_worker(load_settings(), log, state.with_suffix(".log")))


async def _through_worker(settings: Settings, log: Path, output: Path) -> tuple[tuple[float, float], dict[str, Any]]:
    report = Report(settings.topics)
    async with KafkaReplay(settings, report) as replay:
        await replay.produce(read_log([log], settings.topics).events, speed=None)
        command = [sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker", "-l", "info"]
        with output.open("w") as stream:
            worker = await asyncio.create_subprocess_exec(*command, stdout=stream, stderr=stream)
        try:
            while "Worker ready" not in output.read_text():
                if worker.returncode is not None:
                    sys.exit(f"the worker has ended:\n{output.read_text()}")
                await asyncio.sleep(LOOK_UP_SECONDS)
            before, started = cpu_seconds(worker.pid), time.monotonic()
            while not await replay.is_done():
                await asyncio.sleep(LOOK_UP_SECONDS)
            spent = cpu_seconds(worker.pid) - before, time.monotonic() - started
            produced = asyncio.Event()
            produced.set()
            await replay.follow(produced, patience=60)
            return spent, report.counts()
        finally:
            worker.send_signal(signal.SIGTERM)
            await worker.wait()


def through_process(log: Path) -> tuple[tuple[float, float], dict[str, Any]]:
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
    return (cpu, wall), counts


def show(events: int, rounds: list[dict[str, Any]]) -> None:
    """Print medians and spreads."""
    print(f"{events} source events, {PARTITIONS} partitions, {len(rounds)} rounds: median (lowest to highest)")
    for name in ("worker", "in_process"):
        for figure in ("events_per_cpu_second", "events_per_second"):
            values = sorted(done[name][figure] for done in rounds)
            print(f"{name:<11} {figure:<22} {statistics.median(values):9.0f} ({values[0]:.0f} to {values[-1]:.0f})")
    ratios = [done["worker"]["events_per_cpu_second"] / done["in_process"]["events_per_cpu_second"] for done in rounds]
    print(f"worker / in_process, events a CPU second: {statistics.median(ratios):.2f}")


def stream_qa(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run a command of ours and return what it prints."""
    return subprocess.run(
        [*STREAM_QA, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


if __name__ == "__main__":
    main()
