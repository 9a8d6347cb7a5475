"""Topics and state of one's own on the real broker, and workers on them as processes."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from ports import free_port

from stream_qa.demo.worker_process import worker_process
from stream_qa.settings import PREFIX, Settings
from stream_qa.streaming.partitioner import partition_of
from stream_qa.topics import apply, partition_counts

PARTITIONS = 4
PROGRAM = (sys.executable, "-m", "stream_qa")
"""Our own commands."""

# Settings of whoever begins tests, a game day or a benchmark are not those of programs on a ground.
for _name in [name for name in os.environ if name.startswith(PREFIX)]:
    del os.environ[_name]

_number = count()


def job_in(partition: int) -> str:
    """Return the id of a job whose events belong into a partition."""
    jobs = (f"job-{number}" for number in count())
    return next(job_id for job_id in jobs if partition_of(job_id.encode(), PARTITIONS) == partition)


@dataclass
class Ground:
    """Topics under a prefix of their own, with the settings of the workers that read them."""

    settings: Settings
    directory: Path
    environment: dict[str, str]
    _workers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def worker(self, name: str = "worker", **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a worker whose state and log are under ``name``: the same name again continues that state.

        Asked to end when the context is left, it ends in order.
        """
        environment = {
            **self.environment,
            "STREAM_QA_DATA_DIRECTORY": str(self.directory / name),
            "STREAM_QA_WEB_PORT": str(free_port()),
            **settings,
        }
        log = self.directory / f"{name}-{next(self._workers)}.log"
        with worker_process(environment, log) as process:
            yield process
            is_asked = process.poll() is None
        assert not is_asked or process.returncode == 0, log.read_text(errors="replace")

    def run(self, name: str, *program: str, **settings: str) -> "subprocess.Popen[bytes]":
        """Begin a worker, or another program for one, and do not wait; its log is ``log_of(name)``."""
        environment = {
            **self.whole_environment,
            "STREAM_QA_DATA_DIRECTORY": str(self.directory / name),
            "STREAM_QA_WEB_ENABLED": "false",
            **settings,
        }
        command = program or (sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker", "-l", "info")
        with self.log_of(name).open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def log_of(self, name: str) -> Path:
        """Return the log of a worker that was begun with ``run``."""
        return self.directory / f"{name}.log"

    @property
    def whole_environment(self) -> dict[str, str]:
        """The environment of a program of ours."""
        return {**os.environ, **self.environment}

    def set_for_commands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the commands that a test runs in its own process be about these topics."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def replay(self, log: Path, out: Path) -> dict[str, Any]:
        """Replay a log through the broker, until the workers are done, and return the counts."""
        command = [*PROGRAM, "replay", str(log), "--kafka", "--out", str(out), "--json"]
        done = subprocess.run(command, env=self.whole_environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        counts: dict[str, Any] = json.loads(done.stdout)
        return counts

    async def produce(self, topic: str, records: list[tuple[bytes | None, bytes | None]], partition: int) -> None:
        """Send keys and values, as they are, to one partition."""
        producer = AIOKafkaProducer(**self.settings.kafka.options())
        await producer.start()
        try:
            headers = [("trace", b"abc")]
            await asyncio.gather(
                *[
                    await producer.send(topic, value=value, key=key, partition=partition, headers=headers)
                    for key, value in records
                ]
            )
        finally:
            await producer.stop()

    async def read(
        self, topic: str, until: Callable[[list[ConsumerRecord]], bool] | None = None
    ) -> dict[int, list[ConsumerRecord]]:
        """Return all records of a topic by partition, in log order; ``until`` says when to stop waiting for more."""
        consumer = AIOKafkaConsumer(
            **self.settings.kafka.options(),
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            counts = await partition_counts(self.settings.kafka, [topic])
            places = [TopicPartition(topic, number) for number in range(counts[topic] or 0)]
            consumer.assign(places)
            for place, beginning in (await consumer.beginning_offsets(places)).items():
                consumer.seek(place, beginning)
            found: dict[int, list[ConsumerRecord]] = {place.partition: [] for place in places}
            while True:
                for place, records in (await consumer.getmany(timeout_ms=200)).items():
                    found[place.partition] += records
                if until is not None:
                    if until([record for records in found.values() for record in records]):
                        return found
                elif all([await consumer.position(p) >= e for p, e in (await consumer.end_offsets(places)).items()]):
                    return found
        finally:
            await consumer.stop()


def new_ground(broker: str, directory: Path, **more: float | Path) -> Ground:
    """Make topics, with four partitions each, that nobody else uses; ``more`` are settings to differ from defaults."""
    prefix = f"test-{directory.name}-{next(_number)}-"
    settings = Settings(broker=broker, app_id=f"{prefix}workers", topic_prefix=prefix).model_copy(update=more)
    asyncio.run(apply(settings.kafka, prefix, partitions=PARTITIONS))
    environment = {
        "STREAM_QA_BROKER": broker,
        "STREAM_QA_APP_ID": settings.app_id,
        "STREAM_QA_TOPIC_PREFIX": prefix,
        **{f"{PREFIX}{name.upper()}": str(value) for name, value in more.items()},
    }
    return Ground(settings, directory, environment)


def halves(log: Path, directory: Path) -> list[Path]:
    """Write the log in two parts."""
    lines = log.read_bytes().splitlines(keepends=True)
    parts = [directory / "first.jsonl", directory / "second.jsonl"]
    parts[0].write_bytes(b"".join(lines[: len(lines) // 2]))
    parts[1].write_bytes(b"".join(lines[len(lines) // 2 :]))
    return parts
