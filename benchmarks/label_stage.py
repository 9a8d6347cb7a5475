"""Source events per CPU second of the label stage alone, by how many open applications a job has.

    python benchmarks/label_stage.py [--applications 100000] [--rounds 3]

The same number of applications, three in ten of them answered in any order while all are open, then closed together:
spread over jobs of 10, of 1,000 and of all of them. State is in RocksDB, as in a worker.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import rocksdict

from stream_qa.durations import DAY
from stream_qa.events import Record, TopicNames
from stream_qa.replay.in_process import label_to_the_end
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.streaming.table import Table

START = 1_767_571_200_000
ANSWERED = 0.3
CHUNK = 5_000
FEATURES = [round(0.1 * number - 0.8, 2) for number in range(16)]


def main() -> None:
    """Run the rounds, each in a process of its own, and print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--applications", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one is not None:
        print(events_per_cpu_second(options.applications, options.one))
        return
    sizes = (10, 1_000, options.applications)
    found: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(options.rounds):
        for size in sizes:
            command = [sys.executable, __file__, "--applications", str(options.applications), "--one", str(size)]
            found[size].append(float(subprocess.check_output(command)))
    print("open applications a job   events per CPU second: median (lowest to highest)   against 10 a job, by round")
    for size, figures in found.items():
        ratios = [figure / first for figure, first in zip(figures, found[10], strict=True)]
        print(
            f"{size:>23,}   {statistics.median(figures):>8.0f} ({min(figures):.0f} to {max(figures):.0f})"
            f"   {statistics.median(ratios):.2f}"
        )


def events_per_cpu_second(applications: int, a_job: int) -> float:
    """Return the figure for one run."""
    stage = build_pipeline(Settings(topic_prefix="")).label
    records = list(events(applications, a_job))
    with tempfile.TemporaryDirectory() as directory:
        cache = rocksdict.Cache(256 << 20)
        state, jobs = (Table(Path(directory) / name, cache, 8 << 20) for name in ("label", "job"))
        collect_rarely()
        before = time.process_time()
        labels = 0
        for start in range(0, len(records), CHUNK):
            for outcome in label_to_the_end(stage, 0, records[start : start + CHUNK], state, jobs):
                labels += sum(outcome.reasons.values())
        spent = time.process_time() - before
        if labels < 2 * applications:
            sys.exit(f"{labels} labels, where each of {applications} applications opens and closes")
        state.close()
        jobs.close()
    return len(records) / spent


def events(applications: int, a_job: int) -> Iterator[Record]:
    """Yield the records: all applications, then the answers, then what closes everything."""
    topics = TopicNames()
    chance = random.Random(1)  # noqa: S311 # nothing secret
    for number in range(applications):
        fields = {
            "application_id": f"application-{number}",
            "member_id": f"member-{number % 997}",
            "job_id": f"job-{number // a_job}",
            "applied_at": START + number,
            "feature_schema": "sixteen",
            "member_features": FEATURES,
            "job_features": FEATURES,
        }
        yield Record(topics.applications, 0, number, b"", json.dumps(fields).encode())
    answered = chance.sample(range(applications), round(ANSWERED * applications))
    for offset, number in enumerate(answered):
        answer = {
            "application_id": f"application-{number}",
            "job_id": f"job-{number // a_job}",
            "kind": "message",
            "engaged_at": START + applications + offset,
        }
        yield Record(topics.engagements, 0, offset, b"", json.dumps(answer).encode())
    last = {**fields, "application_id": "last", "applied_at": START + 20 * DAY}
    yield Record(topics.applications, 0, applications, b"", json.dumps(last).encode())
    note = {**answer, "application_id": "last", "kind": "note", "engaged_at": START + 20 * DAY}
    yield Record(topics.engagements, 0, len(answered), b"", json.dumps(note).encode())


if __name__ == "__main__":
    main()
