"""What a server needs to hold many entities: memory, disk, and what a look-up takes among so many.

    python benchmarks/store_size.py [--entities 1000000 5000000] [--no-redis]

Entities of 16 features and an intercept, half members and half jobs, each with one snapshot, as a server takes them
in at its start. RocksDB is in this process, whose memory is read before and after; Redis, where one is installed, is
another process, which says itself what it needs. A look-up is of one member and 500 jobs, drawn at random.
"""

import argparse
import gc
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import redis
from scoring import redis_server

from stream_qa.coefficients import CoefficientStore
from stream_qa.events import EntityKind, wire
from stream_qa.following.opening import open_store

COEFFICIENTS = 17
VERSION = 3
AT_ONCE = 10_000
LOOK_UPS, JOBS = 200, 500
MEGABYTE = 1 << 20


def main() -> None:
    """Fill the stores and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--entities", type=int, nargs="+", default=[1_000_000, 5_000_000])
    arguments.add_argument("--no-redis", action="store_true")
    options = arguments.parse_args()
    print("| store | entities | filled a second | memory, MB | disk, MB | look-up of 501, p50 and p99, ms |")
    print("|---|---|---|---|---|---|")
    for entities in options.entities:
        with tempfile.TemporaryDirectory() as directory:
            before = resident()
            with closing(open_store(str(Path(directory) / "store"))) as store:
                rate = fill(store, entities)
                memory = resident() - before
                row("RocksDB", entities, rate, (memory, on_disk(Path(directory))), look_ups(store, entities))
        with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as url:
            if url is None or options.no_redis:
                print(f"| Redis | {entities:,} | not run | | | |")
                continue
            # Nothing remembered in this process: each look-up asks the server.
            with closing(open_store(url, cached_entities=1, cached_seconds=0.001)) as store:
                rate = fill(store, entities)
                with redis.Redis.from_url(url) as client:
                    memory = int(client.info("memory")["used_memory_rss"])
                row("Redis", entities, rate, (memory, 0), look_ups(store, entities))


def fill(store: CoefficientStore, entities: int) -> float:
    """Give the store a snapshot of every entity; return how many it took a second."""
    random = np.random.default_rng(1)
    began = time.perf_counter()
    for start in range(0, entities, AT_ONCE):
        vectors = random.normal(size=(AT_ONCE, COEFFICIENTS))
        store.apply([snapshot(start + number, vector.tobytes()) for number, vector in enumerate(vectors)])
    return entities / (time.perf_counter() - began)


def snapshot(number: int, packed: bytes) -> wire.Snapshot:
    """Return one entity's coefficients."""
    kind: EntityKind = "job" if number % 2 else "member"
    return wire.Snapshot(kind, f"{kind}-{number:09}", VERSION, packed, "2026-11-01", VERSION, 1_767_571_200_000)


def look_ups(store: CoefficientStore, entities: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of look-ups, in milliseconds."""
    random = np.random.default_rng(2)
    taken = []
    for _ in range(LOOK_UPS):
        numbers = random.integers(entities // 2, size=1 + JOBS) * 2
        asked: dict[EntityKind, list[str]] = {
            "member": [f"member-{numbers[0]:09}"],
            "job": [f"job-{number + 1:09}" for number in numbers[1:]],
        }
        began = time.perf_counter()
        found = store.look_up_both(asked)
        taken.append(1_000 * (time.perf_counter() - began))
        if any((side.versions != VERSION).any() for side in found.values()):
            raise SystemExit("an entity is not held")
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


def resident() -> int:
    """Return the bytes of memory that this process has."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def on_disk(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def row(name: str, entities: int, rate: float, space: tuple[int, int], milliseconds: tuple[float, float]) -> None:
    """Print one line: memory and disk in bytes, the look-up's median and 99th percentile."""
    memory, disk = (f"{taken / MEGABYTE:,.0f}" for taken in space)
    p50, p99 = milliseconds
    print(f"| {name} | {entities:,} | {rate:,.0f} | {memory} | {disk} | {p50:.1f} and {p99:.1f} |", flush=True)


if __name__ == "__main__":
    main()
