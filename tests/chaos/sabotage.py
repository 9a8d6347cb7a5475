"""Four ways in which a worker could be wrong: the suite must see each of them.

Each is a function that replaces methods of the streaming code, in the process of ``chaos.faulty_app`` only.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from stream_qa.streaming import changelog
from stream_qa.streaming.batches import Batches, Destination
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Lane, Work
from stream_qa.streaming.positions import POSITION
from stream_qa.streaming.transactions import Transactions


def positions_apart() -> None:
    """Commit the positions in a transaction of their own, before what was made of the records."""
    commit = LaneGroup._commit

    async def apart(group: LaneGroup, work: Mapping[Lane, Work]) -> dict[Destination, int]:
        positions, others = Batches(), {}
        for lane, done in work.items():
            moved = {key: value for key, value in done.changes.items() if key.startswith(POSITION)}
            positions.add_all((lane.changelog, lane.partition), moved)
            left = {key: value for key, value in done.changes.items() if key not in moved}
            others[lane] = done._replace(changes=left)
        offsets = await group.transactions.commit(positions) if positions.destinations() else {}
        # What says nothing new moves the position alone.
        if any(done.changes or done.messages for done in others.values()):
            offsets |= await commit(group, others)
        return offsets

    _replace(LaneGroup, _commit=apart)


def no_fencing() -> None:
    """Give every process transactional ids of its own, so that nobody fences anybody, and do not look for others."""
    begin = Transactions.__init__

    def unfenced(transactions: Transactions, connections: Any, transactional_id: str, *others: Any) -> None:  # noqa: ANN401
        begin(transactions, connections, f"{transactional_id}-{os.urandom(8).hex()}", *others)

    async def ends_of_all(reading: Any) -> dict[Any, int]:  # noqa: ANN401
        found: dict[Any, int] = await reading._consumer.end_offsets(list(reading._lanes))
        return found

    _replace(Transactions, __init__=unfenced)
    _replace(changelog._Reading, _ends_of_all=ends_of_all)


def local_write_first() -> None:
    """Write to the local tables what is on the broker, and commit it then."""
    commit, produce = LaneGroup._commit, Transactions._produce
    under_way: dict[Any, Mapping[Lane, Work]] = {}

    async def commit_what(group: LaneGroup, work: Mapping[Lane, Work]) -> dict[Destination, int]:
        under_way[group.transactions] = work
        return await commit(group, work)

    async def produce_and_store(transactions: Transactions, *arguments: Any) -> dict[Destination, int]:  # noqa: ANN401
        last = await produce(transactions, *arguments)
        for lane, done in under_way[transactions].items():
            if (lane.changelog, lane.partition) in last:
                lane.store(done, last[lane.changelog, lane.partition])
        return last

    _replace(LaneGroup, _commit=commit_what)
    _replace(Transactions, _produce=produce_and_store)


def uncommitted_recovery() -> None:
    """Restore what is in the changelog, whether it was committed or not."""
    changelog.ISOLATION_LEVEL = "read_uncommitted"


def _replace(owner: type, **methods: Callable[..., Any]) -> None:
    for name, method in methods.items():
        setattr(owner, name, method)


SABOTAGES: dict[str, Callable[[], None]] = {
    function.__name__: function for function in (positions_apart, no_fencing, local_write_first, uncommitted_recovery)
}
