"""Source events per CPU second: the log is in the topics before a side begins, and all of it must come out right."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from peers.log import Counts, Event, expected_counts
from peers.running import SideFailedError, running
from peers.sides import Place, Side
from peers.topics import Outputs, count, delete_topics, make_topics, write

#: Nothing new for so long, and it will not come any more.
PATIENCE_SECONDS = 90.0


@dataclass(frozen=True)
class Throughput:
    """What a side needed for a log."""

    events: int
    cpu_seconds: float
    """Of the process and its descendants, user and system, from when it had its partitions."""
    wall_seconds: float
    """From then until the last delta was seen."""
    resident_megabytes: float
    counts: dict[str, int]


async def measure(side: Side, place: Place, log: Sequence[Event]) -> Throughput:
    """Send a log through a side.

    Raises
    ------
    SideFailedError
        It ended, stood still, or its counts are not those of the pipeline.
    """
    expected = expected_counts(log)
    await make_topics(side, place)
    await write(place, log)
    async with Outputs(place) as outputs:
        async with running(side, place) as run:
            began = run.used()
            moved = time.monotonic()
            while not outputs.has(expected):
                if (await outputs.more())[0]:
                    moved = time.monotonic()
                run.check()
                if time.monotonic() - moved > PATIENCE_SECONDS:
                    raise run.failure(f"it stands still at {dict(outputs.seen)} of {expected}")
            ended = run.used()
            resident = run.most_resident_megabytes()
        counts = await count(side, place, outputs, log)
    check_counts(side, counts, expected)
    await delete_topics(place)
    return Throughput(len(log), ended.cpu - began.cpu, ended.at - began.at, resident, counts._asdict())


def check_counts(side: Side, counts: Counts, expected: Counts) -> None:
    """See that a side has made of a log what the pipeline is to make of it.

    Raises
    ------
    SideFailedError
        It has not.
    """
    if counts != expected:
        raise SideFailedError(f"{side.name} has made {counts}, and {expected} is right")
