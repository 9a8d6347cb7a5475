"""What ``stream-qa capacity`` says beside what a worker on a real broker then writes.

    python benchmarks/capacity_check.py [--applications 30000] [--features 16]

A sample of one simulated marketplace says what an application costs; another marketplace goes through a worker, and the
files of the broker and of the worker are measured.
"""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from measured_broker import measured_broker
from throughput import PARTITIONS, stream_qa, through_worker

from stream_qa.capacity.sample import Sample, simulated_events, take_sample
from stream_qa.events import TopicNames
from stream_qa.replay.log import LogEvent, read_log
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline

PREFIX = "check-"


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--applications", type=int, default=30_000)
    arguments.add_argument("--features", type=int, default=16)
    options = arguments.parse_args()
    pipeline = build_pipeline(Settings())
    sample = take_sample(pipeline, simulated_events(pipeline, options.features, seed=0))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = directory / "log.jsonl"
        size = ("--applications", str(options.applications), "--features", str(options.features), "--seed", "1")
        stream_qa("simulate", str(log), *size)
        events = read_log([log], TopicNames()).events
        with measured_broker(directory / "broker") as broker:
            through_worker(broker, directory / "state", log, PREFIX)
        show(sample, events, sizes(directory / "broker"), held(directory / "state"))


def sizes(broker: Path) -> dict[str, int]:
    """Return the bytes of each topic's log files, by the names without the prefix."""
    found: defaultdict[str, int] = defaultdict(int)
    for file in broker.rglob("*.log"):
        topic, _, partition = file.parent.name.rpartition("-")
        if topic.startswith(PREFIX) and partition.isdecimal():
            found[topic.removeprefix(PREFIX)] += file.stat().st_size
    return found


def held(state: Path) -> int:
    """Return the bytes of a worker's tables."""
    return sum(file.stat().st_size for file in state.rglob("*") if file.suffix in {".sst", ".log"})


def show(sample: Sample, events: list[LogEvent], measured: dict[str, int], state: int) -> None:
    """Print what was predicted and what was measured."""
    topics = TopicNames()
    applied = [event.time for event in events if event.topic == topics.applications]
    if not applied:
        sys.exit("there are no applications")
    print(f"{len(applied)} applications, {len(events)} events, {PARTITIONS} partitions")
    print(f"{'':<24}{'said':>10}{'measured':>12}{'ratio':>8}")
    for topic, sent in sorted(sample.sent.items(), key=lambda item: -item[1].bytes):
        said = sent.bytes * len(applied)
        print(f"{topic:<24}{said / 1e6:7.1f} MB{measured[topic] / 1e6:9.1f} MB{measured[topic] / said:8.2f}")
    policy = build_pipeline(Settings()).label.policy
    still_open = sum(time > max(applied) - policy.retention for time in applied)
    over = len(applied) - still_open
    entities = len({event.key for event in events}) + len(
        {event.value.split(b'"member_id":')[1][:24] for event in events if event.topic == topics.applications}
    )
    said = still_open * sample.open_state.bytes + over * sample.over_state.bytes + entities * sample.entity_bytes
    print(f"{'state of the worker':<24}{said / 1e6:7.1f} MB{state / 1e6:9.1f} MB{state / said:8.2f}")


if __name__ == "__main__":
    os.environ.pop("STREAM_QA_POLICY", None)
    main()
