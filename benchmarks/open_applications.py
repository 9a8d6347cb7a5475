"""What a partition with very many open applications costs: memory while they come, and the stall when they close.

    python benchmarks/open_applications.py [--applications 1000000] [--closing 100000] [--jobs 20000]

The label stage alone, its state in RocksDB as in a worker. Applications come while none closes; then the window
of the first ``--closing`` of them ends at once, and each chunk takes what ``STREAM_QA_DUE_APPLICATIONS`` allows.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import rocksdict

from stream_qa.durations import DAY
from stream_qa.events import Record, wire
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.streaming.positions import UNKNOWN_TOPIC, Mark
from stream_qa.streaming.table import Table

START = 1_767_571_200_000
CHUNK = 5_000
FEATURES = msgspec.Raw(msgspec.json.encode([round(0.1 * number - 0.8, 2) for number in range(16)]))


def main() -> None:
    """Run it and print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--applications", type=int, default=1_000_000)
    arguments.add_argument("--closing", type=int, default=100_000)
    arguments.add_argument("--jobs", type=int, default=20_000)
    options = arguments.parse_args()
    settings = Settings()
    partition = LabelPartition(settings)
    print("| open applications | resident memory, MB | table on disk, MB | slowest chunk so far, s |")
    print("|---|---|---|---|")
    slowest = 0.0
    for first in range(0, options.applications, CHUNK):
        slowest = max(slowest, partition.take([application(number, options) for number in range(first, first + CHUNK)]))
        done = first + CHUNK
        if done % (options.applications // 10) == 0:
            print(f"| {done:,} | {resident() >> 20} | {partition.bytes_on_disk() >> 20} | {slowest:.2f} |")
    end = moment(options.closing, options) + 14 * DAY
    partition.take([engagement(end)])
    began = time.monotonic()
    stalls = [partition.take([Record("applications", 0, 0, b"job", encoded("last", 0, end))])]
    while partition.unfinished:
        stalls.append(partition.take([]))
    print(
        f"\n{partition.labels:,} labels closed in {len(stalls)} chunks of about {settings.due_applications:,}: "
        f"{time.monotonic() - began:.1f} s, the longest {max(stalls):.2f} s; resident {resident() >> 20} MB"
    )


class LabelPartition:
    """One partition of the label stage over RocksDB."""

    def __init__(self, settings: Settings) -> None:
        collect_rarely()
        self._stage = build_pipeline(settings).label
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name)
        cache = rocksdict.Cache(settings.state_cache_bytes)
        self._table, self._jobs = (
            Table(self._path / name, cache, settings.state_write_buffer_bytes) for name in ("label", "job")
        )
        self.unfinished = False
        self.labels = 0
        """Of the newest chunks, since applications came."""

    def take(self, records: Sequence[Record]) -> float:
        """Take a chunk; return its seconds."""
        began = time.monotonic()
        outcome = self._stage.process(0, records, self._table, self._jobs)
        self._table.store(outcome.changes, Mark(0, 0, UNKNOWN_TOPIC))
        self.unfinished = outcome.unfinished
        self.labels = sum(b"window-closed" in (message.value or b"") for message in outcome.messages) + (
            0 if len(records) == CHUNK else self.labels
        )
        return time.monotonic() - began

    def bytes_on_disk(self) -> int:
        """Return the size of the tables' files."""
        return sum(path.stat().st_size for path in self._path.rglob("*") if path.is_file())


def moment(number: int, options: argparse.Namespace) -> int:
    """Return when an application is sent: all within the first ten days."""
    return int(START + 10 * DAY * number / options.applications)


def application(number: int, options: argparse.Namespace) -> Record:
    """Return an application's record."""
    value = encoded(f"application-{number}", number % options.jobs, moment(number, options))
    return Record("applications", 0, number, b"job", value)


def encoded(application_id: str, job: int, applied_at: int) -> bytes:
    """Return an application's JSON."""
    event = wire.Application(application_id, f"member-{job}", f"job-{job}", applied_at, "benchmark", FEATURES, FEATURES)
    return wire.encode(event)


def engagement(moment: int) -> Record:
    """Return an engagement that moves its input to a moment."""
    return Record("engagements", 0, 0, b"job", wire.encode(wire.Engagement("none", "job-0", "note", moment)))


def resident() -> int:
    """Return the bytes of memory that this process holds now."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4_096


if __name__ == "__main__":
    main()
