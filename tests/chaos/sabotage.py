"""Four ways in which a worker could be wrong: the suite must see each of them.

Each is a function that replaces methods of the streaming code, in the process of ``chaos.faulty_app`` only.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from stream_qa.streaming import changelog
from stream_qa.streaming.batches import Batches, Destination, Written
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Lane, Work
from stream_qa.streaming.positions import POSITION
from stream_qa.streaming.transactions import Transactions


def positions_apart() -> None:
    """Commit the positions of the first stage in a transaction of their own, before what was made of the records."""
    fill, write, commit = LaneGroup._fill, Transactions.write, Transactions.commit
    apart: dict[Any, Batches] = {}

    def without_positions(group: LaneGroup, batches: Batches, work: Mapping[Lane, Work]) -> Any:  # noqa: ANN401
        if batches.destinations():
            return fill(group, batches, work)
        positions, others = Batches(), {}
        for lane, done in work.items():
            moved = {key: value for key, value in done.changes.items() if key.startswith(POSITION)}
            positions.add_all((lane.changelog, lane.partition), moved)
            left = {key: value for key, value in done.changes.items() if key not in moved}
            others[lane] = done._replace(changes=left)
        apart[group.transactions] = positions
        return fill(group, batches, others)

    async def write_apart(transactions: Transactions, batches: Batches) -> dict[Destination, Written]:
        written: dict[Destination, Written] = {}
        positions = apart.pop(transactions, None)
        if positions is not None and positions.destinations():
            written = await write(transactions, positions)
            await commit(transactions)
        # What says nothing new moves the position alone.
        return written | await write(transactions, batches) if batches.destinations() else written

    async def commit_rest(transactions: Transactions) -> None:
        if transactions._is_open:
            await commit(transactions)

    _replace(LaneGroup, _fill=without_positions)
    _replace(Transactions, write=write_apart, commit=commit_rest)


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
    fill, write = LaneGroup._fill, Transactions.write
    under_way: defaultdict[Any, dict[Lane, Work]] = defaultdict(dict)

    def fill_and_remember(group: LaneGroup, batches: Batches, work: Mapping[Lane, Work]) -> Any:  # noqa: ANN401
        under_way[group.transactions] |= work
        return fill(group, batches, work)

    async def write_and_store(transactions: Transactions, batches: Batches) -> dict[Destination, Written]:
        written = await write(transactions, batches)
        for lane, done in under_way.pop(transactions, {}).items():
            if done.changes:
                lane.store(done, written[lane.changelog, lane.partition].last)
        return written

    _replace(LaneGroup, _fill=fill_and_remember)
    _replace(Transactions, write=write_and_store)


def uncommitted_recovery() -> None:
    """Restore what is in the changelog, whether it was committed or not."""
    changelog.ISOLATION_LEVEL = "read_uncommitted"


def _replace(owner: type, **methods: Callable[..., Any]) -> None:
    for name, method in methods.items():
        setattr(owner, name, method)


SABOTAGES: dict[str, Callable[[], None]] = {
    function.__name__: function for function in (positions_apart, no_fencing, local_write_first, uncommitted_recovery)
}
