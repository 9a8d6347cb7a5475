"""``faust -A chaos.faulty_app worker``: the worker as it is, which strikes itself at an exact instant when told to.

With ``CHAOS_SABOTAGE`` it is broken besides, in one of the ways of ``chaos.sabotage``.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakSet

import orjson

from chaos.instants import Instant, Orders
from chaos.sabotage import SABOTAGES
from stream_qa.app import app, settings
from stream_qa.streaming import changelog, opening
from stream_qa.streaming.batches import Batches, Destination, Written
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Lane, Work
from stream_qa.streaming.lanes import Lanes
from stream_qa.streaming.transactions import Transactions

__all__ = ["app"]

#: Enough for a request to reach the broker, and mostly less than the broker needs to end a transaction.
_ON_ITS_WAY_SECONDS = 0.0003

if os.environ["CHAOS_SABOTAGE"]:
    SABOTAGES[os.environ["CHAOS_SABOTAGE"]]()

orders = Orders(Path(os.environ["CHAOS_ORDERS"]))
with_openings: WeakSet[Batches] = WeakSet()
telling: set[Transactions] = set()
"""The open transactions with first labels in them. Whatever else is lost may be without effect, or comes again."""

fill = LaneGroup._fill
write, end = Transactions.write, Transactions._end
store_lane, store = Lane.store, LaneGroup._store
catch_up, pause = changelog.catch_up, Lanes.pause
take = changelog._Reading._take


def fill_and_pass(group: LaneGroup, batches: Batches, work: Mapping[Lane, Work]) -> Any:  # noqa: ANN401
    labels = (message for done in work.values() for message in done.messages if message.topic == settings.topics.labels)
    if any(orjson.loads(label.value or b"")["revision"] == 1 for label in labels):
        with_openings.add(batches)
    return fill(group, batches, work)


async def write_and_pass(transactions: Transactions, batches: Batches) -> dict[Destination, Written]:
    written = await write(transactions, batches)
    if batches in with_openings:
        telling.add(transactions)
    return written


async def end_and_pass(transactions: Transactions, producer: Any, *, commits: bool) -> Any:  # noqa: ANN401
    tells = transactions in telling
    telling.discard(transactions)
    if tells:
        orders.passing(Instant.IN_TRANSACTION)
    ending = asyncio.ensure_future(end(transactions, producer, commits=commits))
    if tells and orders.has(Instant.COMMIT_SENT):
        await asyncio.sleep(_ON_ITS_WAY_SECONDS)
        orders.passing(Instant.COMMIT_SENT)
    return await ending


def store_lane_and_pass(lane: Lane, work: Work, changelog_offset: int) -> None:
    orders.passing(Instant.COMMITTED)
    store_lane(lane, work, changelog_offset)


def store_and_pass(group: LaneGroup, work: Mapping[Lane, Work], written: Mapping[Destination, Written]) -> None:
    store(group, work, written)
    orders.passing(Instant.STORED)


async def catch_up_and_pass(*arguments: Any) -> int:  # noqa: ANN401
    orders.passing(Instant.INITIALISED)
    return await catch_up(*arguments)


async def take_and_pass(reading: changelog._Reading, *arguments: Any) -> Any:  # noqa: ANN401
    taken = await take(reading, *arguments)
    if taken:
        orders.passing(Instant.RESTORING)
    return taken


async def pause_and_pass(lanes: Lanes) -> None:
    orders.passing(Instant.REBALANCING)
    await pause(lanes)


for owner, name, wrapped in (
    (LaneGroup, "_fill", fill_and_pass),
    (Transactions, "write", write_and_pass),
    (Transactions, "_end", end_and_pass),
    (Lane, "store", store_lane_and_pass),
    (LaneGroup, "_store", store_and_pass),
    (opening, "catch_up", catch_up_and_pass),
    (changelog._Reading, "_take", take_and_pass),
    (Lanes, "pause", pause_and_pass),
):
    setattr(owner, name, wrapped)
