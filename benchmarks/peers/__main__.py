"""Measure the same pipeline in this project, in other frameworks, and written by hand, side by side.

make bench                                       # all of it, in rounds; cut off, it goes on where it was
make bench-table                                 # then writes the tables of docs/benchmarks.md
cd benchmarks && python -m peers --events 2000 --rounds 1 --keys zipf --json smoke.json
"""

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_args

import uvloop
from aiokafka.errors import KafkaError
from measured_broker import measured_broker

from peers.agreement import largest_difference
from peers.latency import measure_latency
from peers.log import Keys, make_log
from peers.results import Results, Row
from peers.running import SideFailedError
from peers.sides import PARTITIONS, SIDES, Place, Side
from peers.table import write_tables
from peers.throughput import measure

#: What docs/operations.md says to tell brokers: all sides with transactions have it.
PROPERTIES = {"add.partitions.to.txn.retry.backoff.ms": "1"}


def main() -> None:
    """Run what is not in the results yet."""
    arguments = argparse.ArgumentParser(prog="peers", description=__doc__)
    arguments.add_argument("--json", type=Path, default=Path("peers.json"), help="results; what is there is not redone")
    arguments.add_argument("--events", type=int, default=300_000, help="of a log; slow sides get fewer")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--keys", nargs="+", choices=get_args(Keys), default=list(get_args(Keys)))
    names = [side.name for side in SIDES]
    arguments.add_argument("--sides", nargs="+", choices=names, default=names)
    arguments.add_argument("--rates", type=int, nargs="*", default=[1_000, 5_000], help="events a second, for latency")
    arguments.add_argument("--partitions", type=int, nargs="+", default=[1, PARTITIONS], help="of topics, for latency")
    arguments.add_argument("--table", type=Path, help="write the tables of this page from the results, and do no more")
    options = arguments.parse_args()
    # Topics that have just been created have no leader yet, which it tells of again and again.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    results = Results(options.json)
    if options.table is not None:
        write_tables(options.table, results.about, results.rows)
        return
    if not results.are_of_this_machine:
        sys.exit(f"{options.json} has figures of another machine, or of other versions: name another file")
    sides = [side for side in SIDES if side.name in options.sides]
    for side in sides:
        if reason := side.missing():
            print(f"left out: {side.title}: {reason}", file=sys.stderr)
    sides = [side for side in sides if not side.missing()]
    parts = list(
        plan(sides, options.events, options.rounds, options.keys, list(product(options.partitions, options.rates)))
    )
    for part in parts:
        run([task for task in part if results.find(task.key) is None], results)
    if missing := [task.key for part in parts for task in part if results.find(task.key) is None]:
        sys.exit(f"{len(missing)} figures are missing, run it again for them: {missing}")


class Task(NamedTuple):
    """One figure to be found."""

    side: Side
    key: Mapping[str, Any]
    """What it is called in the results."""


def plan(
    sides: Sequence[Side], events: int, rounds: int, all_keys: Sequence[Keys], paces: Sequence[tuple[int, int]]
) -> Iterator[list[Task]]:
    """Yield what is to be done on a broker each: what was before is not in the way of the next.

    Latency is measured for each of ``paces``, partitions and events a second.
    """
    yield [Task(side, {"kind": "agreement", "side": side.name}) for side in sides]
    for number, keys in product(range(rounds), all_keys):
        yield [
            Task(
                side,
                {
                    "kind": "throughput",
                    "side": side.name,
                    "keys": keys,
                    "round": number,
                    "events": min(events, side.most_events),
                },
            )
            for side in _beginning_with_another(sides, number)
        ]
    for partitions, rate in paces:
        yield [
            Task(side, {"kind": "latency", "side": side.name, "rate": rate, "partitions": partitions})
            for side in sides
            if rate <= side.most_rate
        ]


def _beginning_with_another(sides: Sequence[Side], number: int) -> list[Side]:
    """Return the sides in the order of a round."""
    first = number % max(1, len(sides))
    return [*sides[first:], *sides[:first]]


def run(tasks: Sequence[Task], results: Results) -> None:
    """Do tasks on a broker, one after the other, and keep what they find."""
    if not tasks:
        return
    with (
        tempfile.TemporaryDirectory() as directory,
        measured_broker(Path(directory) / "broker", PROPERTIES) as broker,
    ):
        for side, key in tasks:
            prefix = f"{side.name.replace('_', '-')}-"
            place = Place(broker.bootstrap, prefix, Path(directory) / side.name, key.get("partitions", PARTITIONS))
            try:
                found = uvloop.run(FINDS[key["kind"]](side, place, key))
            except (SideFailedError, KafkaError) as error:
                print(error, file=sys.stderr, flush=True)
                if place.log.exists():
                    shutil.copy(place.log, results.path.with_suffix(f".{side.name}.log"))
                continue
            results.add({**key, **found})
            print({**key, **found}, flush=True)


async def _agreement(side: Side, place: Place, _key: Mapping[str, Any]) -> Row:
    return {"largest_difference": await largest_difference(side, place)}


async def _throughput(side: Side, place: Place, key: Mapping[str, Any]) -> Row:
    return asdict(await measure(side, place, make_log(key["events"], key["keys"], seed=key["round"])))


async def _latency(side: Side, place: Place, key: Mapping[str, Any]) -> Row:
    return asdict(await measure_latency(side, place, key["rate"]))


FINDS: Mapping[str, Callable[[Side, Place, Mapping[str, Any]], Coroutine[Any, Any, Row]]] = {
    "agreement": _agreement,
    "throughput": _throughput,
    "latency": _latency,
}

if __name__ == "__main__":
    main()
