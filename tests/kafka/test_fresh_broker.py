"""A broker that no consumer group was ever on: its coordinator comes with the first one."""

import asyncio
import subprocess
from pathlib import Path

import orjson
import pytest
from ground import PROGRAM, job_in, new_ground
from test_worker import application

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.ports import free_port

pytestmark = pytest.mark.kafka


@pytest.mark.usefixtures("broker")  # skips where that does
def test_a_replay_waits_for_workers_that_were_not_there_yet(tmp_path: Path) -> None:
    fresh = DevelopmentBroker(tmp_path / "broker", free_port())
    fresh.up()
    try:
        ground = new_ground(fresh.bootstrap, tmp_path)
        log = tmp_path / "log.jsonl"
        log.write_bytes(orjson.dumps({"type": "application", **application("a", job_in(0))}))
        command = [*PROGRAM, "replay", str(log), "--kafka", "--json", "--patience", "60"]
        with subprocess.Popen(command, env=ground.whole_environment, stdout=subprocess.PIPE) as replay:
            asyncio.run(ground.read(ground.settings.topics.applications, until=bool))
            with ground.worker():
                out, _ = replay.communicate()
        assert replay.returncode == 0
        assert orjson.loads(out)["labels"]["total"] == 1
    finally:
        fresh.down()
