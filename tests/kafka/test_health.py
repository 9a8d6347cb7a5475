"""A worker's health from outside: a broker that is away is no reason to restart it, standing still is one."""

import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from ground import PARTITIONS, Ground, job_in, new_ground
from poison import POISON
from ports import free_port
from test_surroundings import own_broker
from test_worker import application

from stream_qa.broker import DevelopmentBroker
from stream_qa.streaming.partitioner import partition_of

__all__ = ["own_broker"]
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

WEDGED = [
    *(sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); from faust.cli.faust import cli; cli()"),
    *(str(Path(__file__).parent), "-A", "wedged_app", "worker", "-l", "info"),
]
#: The shortest that the settings allow.
STALL_SECONDS = 5


@dataclass
class Watched:
    """A worker and the port of its web server."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def asked(self, path: str) -> tuple[int, list[str]] | None:
        """Return the status of a page and the reasons that it gives; ``None`` where nobody answers."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, said(answer)
        except urllib.error.HTTPError as error:
            return error.code, said(error)
        except OSError:
            return None

    def wait_until(self, path: str, status: int) -> list[str]:
        """Return what a page says once it has this status, asked as often as a supervisor would ask."""
        while (found := self.asked(path)) is None or found[0] != status:
            time.sleep(0.2)
        return found[1]


def said(answer: Any) -> list[str]:  # noqa: ANN401
    document = json.loads(answer.read())
    reasons: list[str] = document["reasons"]
    state = {"ready": not reasons, "held_back": []} if "ready" in document else {"alive": not reasons}
    assert document == {**state, "reasons": reasons}
    return reasons


@contextmanager
def running(ground: Ground, *program: str) -> Iterator[Watched]:
    """Run a worker."""
    port = free_port()
    settings = {
        "STREAM_QA_WEB_ENABLED": "true",
        "STREAM_QA_WEB_PORT": str(port),
        "STREAM_QA_STALL_SECONDS": str(STALL_SECONDS),
    }
    process = ground.run("worker", *program, **settings)
    try:
        yield Watched(process, port, ground.log_of("worker"))
    finally:
        process.kill()
        process.wait()


def send(ground: Ground, *applications: tuple[str, str, int]) -> None:
    """Send applications: id, member, partition of the job."""
    for application_id, member_id, partition in applications:
        value = orjson.dumps({**application(application_id, job_in(partition)), "member_id": member_id})
        asyncio.run(ground.produce(ground.settings.topics.applications, [(b"key", value)], partition))


def test_a_worker_of_which_a_lane_never_goes_on_is_not_alive_and_says_where(ground: Ground) -> None:
    topics = ground.settings.topics
    partition = partition_of(POISON, PARTITIONS)
    other = next(f"m-{number}" for number in range(99) if partition_of(b"m-%d" % number, PARTITIONS) != partition)
    with running(ground, *WEDGED) as worker:
        assert worker.wait_until("/readyz", 200) == []
        send(ground, ("good", other, 0))
        asyncio.run(ground.read(topics.scores, until=lambda found: len(found) == 1))
        assert worker.asked("/livez") == (200, [])
        # Of another writer, so that it is fetched: what wedges is the learner of members, in the member's partition.
        asyncio.run(ground.produce(topics.labels, [(POISON, b"no label")], partition))
        (reason,) = worker.wait_until("/livez", 503)
        assert f"member-{partition} has not moved with records to read for " in reason
        # It answers, it is in its group, and all is restored: nothing else would tell.
        assert worker.asked("/readyz") == (200, [])


def test_a_worker_without_a_broker_is_not_ready_but_alive_and_goes_on_when_it_is_back(
    own_broker: DevelopmentBroker, tmp_path: Path
) -> None:
    ground = new_ground(own_broker.bootstrap, tmp_path)
    with running(ground) as worker:
        worker.wait_until("/readyz", 200)
        send(ground, ("before", "member", 0))
        own_broker.kill()
        worker.wait_until("/readyz", 503)
        began = time.monotonic()
        while time.monotonic() - began < 2 * STALL_SECONDS:  # the fault itself: away for longer than the patience
            assert worker.asked("/livez") == (200, [])
            time.sleep(0.2)
        own_broker.up()
        worker.wait_until("/readyz", 200)
        assert worker.asked("/livez") == (200, [])
