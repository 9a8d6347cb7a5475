"""The worker's application with a bug in it: a group of lanes that was given one member's record never goes on."""

import asyncio
from collections.abc import Sequence

from poison import POISON

from stream_qa.app import app
from stream_qa.streaming.group import LaneGroup
from stream_qa.streaming.lane import Lane, Work
from stream_qa.streaming.source_queue import Chunk

__all__ = ["app"]

_add, _step = LaneGroup.add, LaneGroup._step
_wedged: set[str] = set()


def add_and_remember(self: LaneGroup, lane: Lane, chunk: Chunk) -> None:
    """Queue a chunk, and remember whether it has the record."""
    if lane.stage == "member" and any(record.key == POISON for record in chunk.records):
        _wedged.add(self.name)
    _add(self, lane, chunk)


async def step_or_never(self: LaneGroup, lanes: Sequence[Lane]) -> dict[Lane, Work]:
    """Process what waits, unless there was such a record."""
    if self.name in _wedged:
        await asyncio.Event().wait()
    return await _step(self, lanes)


LaneGroup.add = add_and_remember  # type: ignore[method-assign]
LaneGroup._step = step_or_never  # type: ignore[method-assign]
