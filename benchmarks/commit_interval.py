"""What waiting between transactions costs and saves: latency and CPU of a worker by interval and number of partitions.

    python benchmarks/commit_interval.py [--partitions 1 4 32] [--milliseconds 5 20 100] [--rate 1000]

Latency is that of `make bench`, by its log and its probes: from an engagement to its deltas as a reader of committed
records sees them. Each number of partitions has a broker of its own, on which the intervals take turns.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import uvloop
from measured_broker import measured_broker
from peers.__main__ import PROPERTIES
from peers.latency import Latency, measure_latency
from peers.sides import SIDES, Place, Side

OURS = SIDES[0]


def main() -> None:
    """Run each interval at each number of partitions and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--partitions", type=int, nargs="+", default=[1, 4, 32])
    arguments.add_argument("--milliseconds", type=int, nargs="+", default=[5, 20, 100])
    arguments.add_argument("--rate", type=int, default=1_000, help="events a second")
    arguments.add_argument("--rounds", type=int, default=1)
    options = arguments.parse_args()
    print("| partitions | interval | p50 | p99 | worker's CPU |\n|---|---|---|---|---|", flush=True)
    for partitions in options.partitions:
        with (
            tempfile.TemporaryDirectory() as directory,
            measured_broker(Path(directory) / "broker", PROPERTIES) as broker,
        ):
            for number, milliseconds in product(range(options.rounds), options.milliseconds):
                name = f"every-{milliseconds}-{number}"
                place = Place(broker.bootstrap, f"{name}-", Path(directory) / name, partitions)
                found = uvloop.run(measure_latency(every(milliseconds), place, options.rate))
                print(row(partitions, milliseconds, found), flush=True)


def every(milliseconds: int) -> Side:
    """Return our side with so long an interval between transactions."""

    def environment(place: Place) -> Mapping[str, str]:
        return {**OURS.environment(place), "STREAM_QA_COMMIT_MILLISECONDS": str(milliseconds)}

    return dataclasses.replace(OURS, environment=environment)


def row(partitions: int, milliseconds: int, found: Latency) -> str:
    """Return a row of the table: latency to the job's delta, the later one of the two."""
    half, most, _ = found.job
    missing = "" if found.arrived == found.probes else f" ({found.arrived} of {found.probes} probes arrived)"
    share = f"{found.cpu_share:.2f}{missing}"
    return f"| {partitions} | {milliseconds} ms | {half:.0f} ms | {most:.0f} ms | {share} |"


if __name__ == "__main__":
    main()
