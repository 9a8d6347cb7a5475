"""What a request to the scoring service costs: one member against 500 jobs, one job against 1,000 members.

    python benchmarks/scoring.py [--entities 20000] [--rounds 5] [--seconds 3]

Each store is served by a process of its own, with the whole HTTP service in it, and holds the same members and jobs of
16 features a side. One client asks without a pause, over one connection, one service after the other in turn; so a
service has one core, and the client another. How much of the time the look-up of coefficients takes is from the
service's own metrics. Redis is left out where no ``redis-server`` or ``valkey-server`` is installed.
"""

import argparse
import asyncio
import http.client
import multiprocessing
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import redis
import uvicorn
from throughput import cpu_seconds

from stream_qa.broker.ports import free_port
from stream_qa.coefficients import CoefficientStore
from stream_qa.events import EntityKind, Generation, wire
from stream_qa.following import open_store
from stream_qa.learning import FeatureSchema, LinearModel, Standardisation
from stream_qa.serving.application import create_application
from stream_qa.serving.followed import Followed
from stream_qa.serving.look_up import LookUps
from stream_qa.serving.scoring import Scorer
from stream_qa.serving.served import Served
from stream_qa.serving.serving import Serving
from stream_qa.settings import Settings

FEATURES = 16
BODIES = 40
KINDS = (("one member, 500 jobs", "/v1/scores/member", 500), ("one job, 1,000 members", "/v1/scores/job", 1_000))
LOOK_UP = re.compile(rb"^stream_qa_serve_look_up_seconds_sum (\S+)$", re.MULTILINE)


def main() -> None:
    """Run it and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--entities", type=int, default=20_000, help="members, and as many jobs")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=3.0, help="of each store and kind in a round")
    options = arguments.parse_args()
    print("| store | request | requests a second | p50, ms | p99, ms | CPU, ms | look-up, share of the time |")
    print("|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = {"dictionary": "", "RocksDB": str(directory / "store")}
        url = stack.enter_context(redis_server(directory))
        if url is not None:
            stores["Redis"] = url
        services = {name: stack.enter_context(service(location, options.entities)) for name, location in stores.items()}
        figures = {(name, kind): Figures() for name in services for kind, _, _ in KINDS}
        bodies = {kind: requests(path, count, options.entities) for kind, path, count in KINDS}
        for _ in range(options.rounds):
            for kind, path, _ in KINDS:
                for name, served in services.items():
                    figures[name, kind].measure(served, path, bodies[kind], options.seconds)
        for (name, kind), found in figures.items():
            print(f"| {name} | {kind} | {found.row()} |")


@dataclass
class Figures:
    """What requests of one kind to one service took."""

    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """Requests a second of each round."""
    looking_up: float = 0.0
    cpu: float = 0.0
    """Seconds of the service's process."""

    def measure(self, served: "Service", path: str, bodies: list[bytes], seconds: float) -> None:
        """Ask for ``seconds``."""
        connection = served.connection
        # The service has ended it, if the others had their turn for long; it is made again when something is sent.
        connection.close()
        before, cpu, began, count = looked_up(connection), cpu_seconds(served.pid), time.perf_counter(), 0
        while time.perf_counter() < began + seconds:
            asked = time.perf_counter()
            connection.request("POST", path, bodies[count % len(bodies)], {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            self.seconds.append(time.perf_counter() - asked)
            count += 1
            if response.status != http.client.OK or b'"personalised":true' not in answer:
                raise RuntimeError(answer[:500].decode())
        self.rates.append(count / (time.perf_counter() - began))
        self.cpu += cpu_seconds(served.pid) - cpu
        self.looking_up += looked_up(connection) - before

    def row(self) -> str:
        """Return them as cells of a table."""
        p50, p99 = (1000 * float(np.quantile(self.seconds, q)) for q in (0.5, 0.99))
        rate, least, most = np.median(self.rates), min(self.rates), max(self.rates)
        share = self.looking_up / sum(self.seconds)
        cpu = 1000 * self.cpu / len(self.seconds)
        return f"{rate:.0f} ({least:.0f} to {most:.0f}) | {p50:.1f} | {p99:.1f} | {cpu:.1f} | {share:.0%}"


class Service(NamedTuple):
    """A service, as its client sees it."""

    connection: http.client.HTTPConnection
    pid: int


def looked_up(connection: http.client.HTTPConnection) -> float:
    """Return the seconds that a service has spent on look-ups."""
    connection.request("GET", "/metrics")
    found = LOOK_UP.search(connection.getresponse().read())
    return 0.0 if found is None else float(found[1])


def requests(path: str, count: int, entities: int) -> list[bytes]:
    """Return bodies with ``count`` entities each, other ones in each of them."""
    random = np.random.default_rng(1)

    def sent(kind: str, number: int) -> dict[str, object]:
        return {f"{kind}_id": f"{kind}-{number:06}", "features": random.normal(size=FEATURES).round(3).tolist()}

    one, many = ("member", "job") if path.endswith("member") else ("job", "member")
    return [
        orjson.dumps(
            {
                "feature_schema": "v1",
                one: sent(one, int(random.integers(entities))),
                f"{many}s": [sent(many, number) for number in random.integers(entities, size=count).tolist()],
            }
        )
        for _ in range(BODIES)
    ]


@contextmanager
def service(location: str, entities: int) -> Iterator[Service]:
    """Run a service over a store, in a process, and connect to it."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(location, entities, port))
    process.start()
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            while process.is_alive():
                try:
                    connection.connect()
                    break
                except ConnectionError:
                    time.sleep(0.1)
            yield Service(connection, process.pid or 0)
    finally:
        process.terminate()
        process.join()


def serve(location: str, entities: int, port: int) -> None:
    """Fill a store and serve it."""
    store = open_store(location) if location else CoefficientStore()
    fill(store, entities)
    features = Standardisation(20.0, np.zeros(FEATURES), np.ones(FEATURES))
    weights = np.linspace(-0.1, 0.1, FEATURES)
    model = LinearModel(-1.0, weights, weights, features, features, "bench")
    scorer = Scorer(model, features, features, FeatureSchema("v1", FEATURES, FEATURES))
    settings = Settings()
    look_ups = LookUps(store, settings.serve_look_up_seconds)
    first = Served(1, lambda: scorer, store, look_ups, Followed(Still(), settings.serve_stale_seconds))
    service = create_application(settings, Serving(first, no_other, no_switches))
    uvicorn.run(service, port=port, log_level="warning", access_log=False)


def fill(store: CoefficientStore, entities: int) -> None:
    """Let all members and jobs have learned."""
    random = np.random.default_rng(2)
    sides: tuple[EntityKind, EntityKind] = ("member", "job")
    for side in sides:
        for first in range(0, entities, 1_000):
            numbers = range(first, min(first + 1_000, entities))
            vectors = random.normal(scale=0.2, size=(len(numbers), 1 + FEATURES))
            store.apply(
                [
                    wire.Snapshot(side, f"{side}-{number:06}", 1, vector.astype("<f8").tobytes(), "bench", 5, 1)
                    for number, vector in zip(numbers, vectors, strict=True)
                ]
            )


def no_other(generation: Generation) -> Served:
    """Open no other generation: there is none."""
    raise RuntimeError(f"there is no generation {generation.generation}")


async def no_switches() -> AsyncGenerator[Generation | None, None]:
    """Say once that nobody has switched, and never anything else."""
    yield None
    await asyncio.Event().wait()


class Still:
    """Follows nothing: what is measured is requests."""

    is_ready = True
    staleness = 0.0
    refusal = None

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def caught_up(self) -> None:
        """Return at once."""

    async def run(self) -> None:
        """Wait until stopped."""
        await self._stopped.wait()

    def stop(self) -> None:
        """End :meth:`run`."""
        self._stopped.set()


@contextmanager
def redis_server(directory: Path) -> Iterator[str | None]:
    """Run a Redis or a Valkey, and give its address; ``None`` where none is installed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        yield None
        return
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        try:
            url = f"redis://127.0.0.1:{port}"
            with redis.Redis.from_url(url) as client:
                while not answers(client):
                    if process.poll() is not None:
                        raise RuntimeError("the Redis has ended")
                    time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def answers(client: "redis.Redis") -> bool:
    """Whether a server answers."""
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


if __name__ == "__main__":
    main()
