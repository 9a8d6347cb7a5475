"""From a recruiter's engagement to a changed score in the scoring service: a real broker, worker and service.

    python benchmarks/event_to_score.py [--rates 100 1000] [--seconds 60]

At each rate, applications of 16 features a side and engagements with them are produced evenly. Beside them one probe
after another: a member and a job of its own, whose application was sent before. From when its engagement is handed
to the producer the service is asked for its score, a hundred times a second at most, until the member's part, and then
the job's, is not 0 any more. All run on one machine: what they wait for is each other.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import orjson
from aiokafka import AIOKafkaProducer
from measured_broker import measured_broker

from stream_qa.broker.ports import free_port
from stream_qa.demo.worker_process import worker_process
from stream_qa.events import TopicNames
from stream_qa.kafka_access import KafkaAccess
from stream_qa.topics import apply

PARTITIONS = 4
MEMBERS, JOBS, FEATURES = 5_000, 1_000, 16
POLL_SECONDS = 0.01
BATCH_SECONDS = 0.02
LONGEST = 30.0
WARM_UP = 5
TOPICS = TopicNames()
SERVE = [sys.executable, "-m", "stream_qa", "serve"]


class Probe(NamedTuple):
    """Seconds from an engagement to a score with the member's new part, and with the job's as well."""

    member: float
    job: float


def main() -> None:
    """Run each rate and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rates", type=int, nargs="+", default=[100, 1_000], help="events a second")
    arguments.add_argument("--seconds", type=float, default=60.0, help="of each")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with measured_broker(directory / "broker") as broker:
            asyncio.run(run(broker.bootstrap, directory, options.rates, options.seconds))


async def run(broker: str, directory: Path, rates: list[int], seconds: float) -> None:
    """Start worker and service, then probe at each rate."""
    await apply(KafkaAccess((broker,)), "", partitions=PARTITIONS)
    port = free_port()
    environment = {
        "STREAM_QA_BROKER": broker,
        "STREAM_QA_DATA_DIRECTORY": str(directory / "worker"),
        "STREAM_QA_WEB_ENABLED": "false",
        "STREAM_QA_SERVE_STORE": str(directory / "store"),
        "STREAM_QA_SERVE_PORT": str(port),
    }
    async with AsyncExitStack() as stack:
        stack.enter_context(worker_process(environment, directory / "worker.log"))
        client = await stack.enter_async_context(service(environment, port))
        producer = AIOKafkaProducer(bootstrap_servers=broker)
        await producer.start()
        stack.push_async_callback(producer.stop)
        load = Load(producer)
        print("| events a second | probes | member's part: p50, p99, longest | job's part too: p50, p99, longest |")
        print("|---|---|---|---|")
        for rate in rates:
            producing = asyncio.create_task(load.produce(rate))
            probes = await probe(load, client, seconds)
            producing.cancel()
            columns = np.array(probes[WARM_UP:]).T * 1000
            cells = [" | ".join(", ".join(f"{n:.0f} ms" for n in figures(column)) for column in columns)]
            print(f"| {rate} | {columns.shape[1]} | {cells[0]} |", flush=True)


def figures(values: np.ndarray) -> list[float]:
    """Return median, 99th percentile and maximum."""
    return [float(np.quantile(values, share)) for share in (0.5, 0.99, 1.0)]


async def probe(load: "Load", client: httpx.AsyncClient, seconds: float) -> list[Probe]:
    """Probe for ``seconds``, one after the other."""
    found = []
    ends = time.monotonic() + seconds
    number = next(load.numbers)
    await load.apply(f"probe-{number}")
    while time.monotonic() < ends:
        following = next(load.numbers)
        await load.apply(f"probe-{following}")
        began = time.monotonic()
        await load.engage(f"probe-{number}")
        found.append(await score_changes(client, f"probe-{number}", began))
        number = following
    return found


async def score_changes(client: httpx.AsyncClient, name: str, began: float) -> Probe:
    """Ask for the score of a probe until both parts have changed."""
    features = [0.0] * FEATURES
    body = {
        "feature_schema": "v1",
        "member": {"member_id": f"m-{name}", "features": features},
        "jobs": [{"job_id": f"j-{name}", "features": features}],
    }
    member = None
    while True:
        (score,) = (await client.post("/v1/scores/member", json=body)).raise_for_status().json()["scores"]
        passed = time.monotonic() - began
        if member is None and score["member_log_odds"]:
            member = passed
        if member is not None and score["job_log_odds"]:
            return Probe(member, passed)
        if passed > LONGEST:
            raise RuntimeError(f"the score has not changed within {LONGEST} seconds")
        await asyncio.sleep(POLL_SECONDS)


class Load:
    """Sends applications and engagements."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._random = np.random.default_rng(1)
        self.numbers = count()

    async def produce(self, rate: int) -> None:
        """Send events evenly until cancelled: an application, then an engagement with it."""
        began, sent = time.monotonic(), 0
        while True:
            while sent < (time.monotonic() - began) * rate:
                number = next(self.numbers)
                name = f"load-{number}"
                member, job = f"m-{self._random.integers(MEMBERS)}", f"j-{self._random.integers(JOBS)}"
                await self.apply(name, member, job)
                await self.engage(name, job)
                sent += 2
            await asyncio.sleep(BATCH_SECONDS)

    async def apply(self, name: str, member_id: str | None = None, job_id: str | None = None) -> None:
        """Send an application, of a member and to a job of its own unless they are given."""
        job_id = job_id or f"j-{name}"
        application = {
            "application_id": name,
            "member_id": member_id or f"m-{name}",
            "job_id": job_id,
            "applied_at": time.time_ns() // 1_000_000,
            "feature_schema": "v1",
            "member_features": self._random.normal(size=FEATURES).round(3).tolist(),
            "job_features": self._random.normal(size=FEATURES).round(3).tolist(),
        }
        await self._producer.send(TOPICS.applications, orjson.dumps(application), job_id.encode())

    async def engage(self, name: str, job_id: str | None = None) -> None:
        """Send an engagement with an application."""
        job_id = job_id or f"j-{name}"
        engagement = {
            "application_id": name,
            "job_id": job_id,
            "kind": "message",
            "engaged_at": time.time_ns() // 1_000_000,
        }
        await self._producer.send(TOPICS.engagements, orjson.dumps(engagement), job_id.encode())


@asynccontextmanager
async def service(environment: dict[str, str], port: int) -> AsyncIterator[httpx.AsyncClient]:
    """Run the scoring service and give a client of it, when it is ready."""
    process = await asyncio.create_subprocess_exec(
        *SERVE, env={**os.environ, **environment}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LONGEST) as client:
            while not await is_ready(client):
                if process.returncode is not None:
                    raise RuntimeError("the service has ended")
                await asyncio.sleep(0.1)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def is_ready(client: httpx.AsyncClient) -> bool:
    """Return whether the service answers that it is ready."""
    try:
        return (await client.get("/readyz")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
