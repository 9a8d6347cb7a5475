"""A real worker whose labels are flipped for a while: it stops publishing, is killed, and goes on as its log says."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import orjson
import pytest
from ground import PARTITIONS, Ground, new_ground
from monitoring import readiness, scraped
from ports import free_port
from refolding import Log, refold

from stream_qa.coefficients import CoefficientStore, Verdict, read_delta
from stream_qa.events import Record
from stream_qa.learning.arrays import Floats
from stream_qa.learning.guard import GUARD, Standing
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.streaming.partitioner import partition_of, share_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

DAY = 86_400_000
MARKET = Marketplace(members=300, jobs=60, days=28, applications=8_000, features=4)
FLIPPED, KILLED, RIGHT_AGAIN = (MARKET.start + days * DAY for days in (12, 19, 22))


@pytest.fixture
def ground(broker: str, tmp_path: Path) -> Ground:
    """Give a group that stops soon, and holds nobody back one by one."""
    return new_ground(broker, tmp_path, guard_change=12.0, guard_entity_evidence=0.0, guard_flood=0.0)


def parts(poisoning: ModuleType, directory: Path) -> Iterator[Path]:
    """Yield the log until the kill, and the rest: of some days' applications it says the opposite."""
    events: list[dict[str, Any]] = list(simulate(MARKET, np.random.default_rng(3)).events())
    flipped = poisoning.flipped(events, FLIPPED, np.random.default_rng(0))
    late = {event["application_id"] for event in events if event.get("applied_at", 0) >= RIGHT_AGAIN}
    log: list[dict[str, Any]] = poisoning.in_order(
        [event for event in flipped if event["application_id"] not in late]
        + [event for event in events if event["application_id"] in late]
    )
    for name, part in (
        ("first", [event for event in log if poisoning.time_of(event) < KILLED]),
        ("second", [event for event in log if poisoning.time_of(event) >= KILLED]),
    ):
        path = directory / f"{name}.jsonl"
        path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in part))
        yield path


def guarded(stage: LearnStage[Any], log: Log) -> dict[int, Standing]:
    """Return what the guard says after a log, taken at once: how it is cut changes no decision of it."""
    standings = {}
    for partition, records in log.items():
        table = MemoryState()
        sources = [Record(record.topic, partition, record.offset, record.key, record.value) for record in records]
        share = share_of(partition, len(log))
        outcome = stage.process(partition, sources, table, share)
        table.apply(outcome.changes)
        while outcome.unfinished:
            outcome = stage.process(partition, [], table, share)
            table.apply(outcome.changes)
        standings[partition] = Standing.unpack(*table.get_many([GUARD]))
    return standings


def stopped(port: int) -> dict[str, float]:
    """Return how many partitions a worker says to be stopped, by stage."""
    samples = scraped(port)["stream_qa_guard_stopped"].samples
    return {sample.labels["stage"]: sample.value for sample in samples if sample.labels["reason"] == "labels"}


def test_killed_while_it_publishes_nothing_it_goes_on_as_its_log_says(
    ground: Ground, poisoning: ModuleType, tmp_path: Path
) -> None:
    first, second = parts(poisoning, tmp_path)
    port = free_port()
    with ground.worker("worker", STREAM_QA_WEB_PORT=str(port)) as worker:
        ground.replay(first, tmp_path / "emitted-first")
        before = stopped(port)
        assert min(before.values()) > 0
        status, said = readiness(port)
        # A restart would help nothing, so it is ready; and says what it holds back.
        assert (status, len(said["held_back"])) == (200, sum(before.values()))
        worker.kill()
        worker.wait()
    shutil.rmtree(ground.directory / "worker")
    port = free_port()
    with ground.worker("worker", STREAM_QA_WEB_PORT=str(port)):
        while readiness(port)[0] != 200:
            time.sleep(0.1)
        assert stopped(port) == before
        ground.replay(second, tmp_path / "emitted-second")
        after = stopped(port)

    topics, pipeline = ground.settings.topics, build_pipeline(ground.settings)
    behind = 0
    published = served(asyncio.run(ground.read(topics.coefficients)))
    for kind, stage, topic in (("member", pipeline.member, topics.labels), ("job", pipeline.job, topics.examples)):
        log = asyncio.run(ground.read(topic))
        standings = guarded(stage, log)
        assert after[kind] == sum(standing.has_changed for standing in standings.values())
        # What is learned does not depend on the guard.
        versions = refold(replace(stage, guard=None), log).versions
        newest = dict(versions.keys())
        for entity_id, version in newest.items():
            base, vector = published.get((kind, entity_id), (0, None))
            # Which version is the last before a stop depends on how the worker's chunks were cut; nothing else does.
            has_changed = standings[partition_of(entity_id.encode(), PARTITIONS)].has_changed
            assert base <= version if has_changed else base == version
            behind += base < version
            if vector is not None:
                assert vector.tobytes() == versions[entity_id, base].tobytes()
    # Both have happened: that one is published again, and that one is not.
    assert "coefficients are published again" in (ground.directory / "worker-1.log").read_text()
    assert behind > 0


def served(log: Log) -> dict[tuple[str, str], tuple[int, Floats]]:
    """Return what a server that follows the deltas holds: version and coefficients, by kind and id."""
    store = CoefficientStore()
    store.apply([read_delta(record.key, record.value) for records in log.values() for record in records])
    assert store.metrics.changes[Verdict.GAP] == store.metrics.changes[Verdict.SKIPPED] == 0
    return {(side, entity_id): (each.version, each.vector) for side, entity_id, each in store.entities()}
