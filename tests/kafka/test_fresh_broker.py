"""A broker that no consumer group was ever on: its coordinator comes with the first one."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from ground import PROGRAM, job_in, new_ground
from ports import free_port
from test_worker import application

from stream_qa.broker import DevelopmentBroker
from stream_qa.kafka_access import KafkaAccess
from stream_qa.topics import members

pytestmark = pytest.mark.kafka


@pytest.fixture
def fresh(broker: str, tmp_path: Path) -> Iterator[str]:  # noqa: ARG001 # skips where that does
    """Give the address of a broker of one's own."""
    fresh = DevelopmentBroker(tmp_path / "broker", free_port())
    fresh.up()
    try:
        yield fresh.bootstrap
    finally:
        fresh.down()


def test_a_replay_waits_for_workers_that_were_not_there_yet(fresh: str, tmp_path: Path) -> None:
    ground = new_ground(fresh, tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_bytes(orjson.dumps({"type": "application", **application("a", job_in(0))}))
    command = [*PROGRAM, "replay", str(log), "--kafka", "--json", "--patience", "60"]
    with subprocess.Popen(command, env=ground.whole_environment, stdout=subprocess.PIPE) as replay:
        asyncio.run(ground.read(ground.settings.topics.applications, until=bool))
        with ground.worker():
            out, _ = replay.communicate()
    assert replay.returncode == 0
    assert orjson.loads(out)["labels"]["total"] == 1


async def test_a_group_that_never_was_has_no_members(fresh: str) -> None:
    assert await members(KafkaAccess((fresh,)), "nobody") == 0
