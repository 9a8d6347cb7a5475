"""``faust -A chaos.faulty_app worker``: the worker as it is, which strikes itself at an exact instant when told to."""

import os
from pathlib import Path
from typing import Any

from chaos.instants import Instant, Orders
from stream_qa.app import app
from stream_qa.streaming import changelog
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lanes import Lanes

__all__ = ["app"]

orders = Orders(Path(os.environ["CHAOS_ORDERS"]))

commit, pause, changes = LaneGroup._commit, Lanes.pause, changelog._changes


async def commit_and_pass(group: LaneGroup, work: Any) -> None:
    await commit(group, work)
    orders.passing(Instant.STORED)


async def pause_and_pass(lanes: Lanes) -> None:
    orders.passing(Instant.REBALANCING)
    await pause(lanes)


def changes_and_pass(records: Any) -> Any:
    found = changes(records)
    orders.passing(Instant.RESTORING)
    return found


LaneGroup._commit = commit_and_pass
Lanes.pause = pause_and_pass
changelog._changes = changes_and_pass
