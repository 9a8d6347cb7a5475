"""How the cost of an event grows with what a worker remembers, with its partitions, and with more workers.

    python benchmarks/scaling.py [--events 60000] [--rounds 3] [--entities 10000 1000000 5000000] [--partitions 1 4 32]

In turn, round by round, all by the same defaults: a worker whose tables hold so many members and jobs, half of each,
before it begins, and a log that touches all of them alike, so that nearly every label is of another; the same with a
log that touches ten thousand of them; a worker with so many partitions; two workers beside one. The entities are put
into the changelogs, as a worker of before would have left them there, restored from there, and brought in order on disk
before the log comes.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from aiokafka import AIOKafkaProducer
from measured_broker import measured_broker
from throughput import Prepare, Spent, through_worker

from stream_qa.events import Message
from stream_qa.learning.entity import LAYOUT, entity_key, entity_range
from stream_qa.learning.whitening import WHITENINGS
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, read_log
from stream_qa.settings import Settings
from stream_qa.stages.expiry import SWEEP
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.streaming.partitioner import partition_of

FEATURES = 16
START = 1_767_571_200_000
#: Milliseconds between two applications: a dense marketplace, so that a chunk is minutes.
APART = 500
ANSWER_AFTER = 600_000
ENTITIES, PARTITIONS = 10_000, 4
BATCH_BYTES = 900_000
EXAMPLE_APPLICATIONS = 2_000
#: What a table says of itself; also that it was swept, once in weeks of event time: no log here is as long.
ABOUT = (LAYOUT, WHITENINGS, SWEEP)


def main() -> None:
    """Run the rounds and print them, as JSON and as a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=60_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--entities", type=int, nargs="*", default=[10_000, 1_000_000, 5_000_000])
    arguments.add_argument("--partitions", type=int, nargs="*", default=[1, 4, 32])
    arguments.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    arguments.add_argument("--json", type=Path, default=Path("scaling.json"))
    options = arguments.parse_args()
    cases = [
        *(("entities", entities, {"entities": entities}) for entities in options.entities),
        *(
            ("entities, ten thousand active", entities, {"entities": entities, "active": ENTITIES})
            for entities in options.entities
            if entities > ENTITIES
        ),
        *(("partitions", partitions, {"partitions": partitions}) for partitions in options.partitions),
        *(("workers", workers, {"workers": workers}) for workers in options.workers),
    ]
    done: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for kind, value, case in cases:
            done.append({"kind": kind, "value": value, **one(options.events, **case)})
            print(f"round {number}: {done[-1]}", flush=True)
            options.json.write_text(json.dumps(done, indent=2))
    show(done)


def one(
    events: int,
    *,
    entities: int | None = None,
    active: int | None = None,
    partitions: int = PARTITIONS,
    workers: int = 1,
) -> dict[str, Any]:
    """Return what a log costs, on a broker of its own: nothing is left of the case before.

    Without ``entities`` the worker begins with nothing.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = directory / "log.jsonl"
        log.write_bytes(b"\n".join(lines(events, entities or ENTITIES, active or entities or ENTITIES)))
        prepare = None if entities is None else preloaded(log, entities, partitions)
        with measured_broker(directory / "broker") as broker:
            spent: Spent
            spent, counts = through_worker(
                broker, directory / "state", log, "scale-", partitions=partitions, workers=workers, prepare=prepare
            )
    return {
        "events_per_cpu_second": events / spent.cpu,
        "events_per_second": events / spent.wall,
        "memory": spent.memory,
        "labels": counts["labels"]["total"],
        "deltas": counts["deltas"],
    }


def lines(events: int, entities: int, active: int) -> Iterator[bytes]:
    """Yield a log in which two in three applications are answered.

    Its members and jobs are so many of all, evenly spread, and each of them is as likely as any other.
    """
    generator = np.random.default_rng(0)
    applications = round(events / (1 + 2 / 3))
    member, job = (generator.integers(active // 2, size=(2, applications)) * (entities // active)).tolist()
    features = np.round(generator.normal(size=(applications, 2, FEATURES)), 4).tolist()
    answered = generator.random(applications) < (events - applications) / applications
    kinds = generator.choice(["message", "rejection"], applications).tolist()
    for number in range(applications):
        applied_at = START + APART * number
        yield orjson.dumps(
            {
                "type": "application",
                "application_id": f"application-{number}",
                "member_id": f"member-{member[number]}",
                "job_id": f"job-{job[number]}",
                "applied_at": applied_at,
                "feature_schema": "scaling",
                "member_features": features[number][0],
                "job_features": features[number][1],
            }
        )
        if answered[number]:
            yield orjson.dumps(
                {
                    "type": "engagement",
                    "application_id": f"application-{number}",
                    "job_id": f"job-{job[number]}",
                    "kind": kinds[number],
                    "engaged_at": applied_at + ANSWER_AFTER,
                }
            )


def preloaded(log: Path, entities: int, partitions: int) -> Prepare:
    """Return what puts the entities into the changelogs: each with the record of one that has learned."""
    learned = _learned(log)

    async def prepare(settings: Settings) -> None:
        changelogs = {"member": settings.topics.member_changelog, "job": settings.topics.job_changelog}
        producer = AIOKafkaProducer(**settings.kafka.options(), max_batch_size=BATCH_BYTES)
        await producer.start()
        try:
            for kind, changelog in changelogs.items():
                about, record = learned[kind]
                places: list[list[tuple[bytes, bytes]]] = [list(about.items()) for _ in range(partitions)]
                for number in range(entities // 2):
                    entity_id = f"{kind}-{number}"
                    partition = partition_of(entity_id.encode(), partitions)
                    places[partition].append((entity_key(entity_id), record))
                for partition, records in enumerate(places):
                    await _send(producer, changelog, partition, records)
        finally:
            await producer.stop()

    return prepare


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, records: list[tuple[bytes, bytes]]) -> None:
    sent: list[asyncio.Future[Any]] = []
    batch = producer.create_batch()
    for key, value in records:
        if batch.append(key=key, value=value, timestamp=None) is None:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    sent.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sent)


def _learned(log: Path) -> dict[str, tuple[dict[bytes, bytes], bytes]]:
    """Return, by kind, what a table says of itself, and the record of an entity, after some of the log."""
    settings = Settings(policy=None)
    tables: dict[str, MemoryState] = {}
    stages = InProcessReplay(
        build_pipeline(settings),
        1,
        _Nothing(),
        lambda name: tables.setdefault(name.removesuffix("-0"), MemoryState()),
    )
    stages.run(_first(read_log([log], settings.topics).events))
    found = {}
    for kind in ("member", "job"):
        about = tables[kind].get_many(ABOUT)
        _, record = max(tables[kind].scan(*entity_range()), key=lambda item: len(item[1]))
        found[kind] = (
            {key: value for key, value in zip(ABOUT, about, strict=True) if value is not None},
            record,
        )
    return found


def _first(events: list[LogEvent]) -> list[LogEvent]:
    return events[:EXAMPLE_APPLICATIONS]


class _Nothing:
    def add(self, message: Message) -> None:
        """Take in nothing."""


def show(done: list[dict[str, Any]]) -> None:
    """Print medians and spreads."""
    print("| | | events per CPU second | events per second | memory of a worker |")
    print("|---|---|---|---|---|")
    for kind, value in dict.fromkeys((case["kind"], case["value"]) for case in done):
        cases = [case for case in done if (case["kind"], case["value"]) == (kind, value)]
        figures = []
        for name in ("events_per_cpu_second", "events_per_second"):
            values = sorted(case[name] for case in cases)
            figures.append(f"{statistics.median(values):,.0f} ({values[0]:,.0f} to {values[-1]:,.0f})")
        memory = max(case["memory"] for case in cases) / 1e6
        print(f"| {kind} | {value:,} | {' | '.join(figures)} | {memory:,.0f} MB |")


if __name__ == "__main__":
    main()
