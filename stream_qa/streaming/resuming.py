"""Where a lane goes on in a source: at the position in its state, if the topic still is what it was."""

import logging

from stream_qa.errors import OffsetGapError, PartitionCountError, TopicReplacedError
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.positions import Origin, Position

_log = logging.getLogger(__name__)


def resume_at(lane: Lane, topic: str, origin: Origin, bounds: tuple[int, int]) -> Position:
    """Return the next offset of ``topic`` for ``lane``, whose table is caught up.

    Where records that were to come next are gone, and the lane may miss them, that is the beginning.

    Parameters
    ----------
    lane
        The lane.
    topic
        One of its sources.
    origin
        What the topic is now.
    bounds
        The offset of the first record of the lane's partition there, and the one after the last.

    Raises
    ------
    PartitionCountError, TopicReplacedError
        It is another topic than the one of which the state was made.
    OffsetGapError
        Records that were to come next are gone, and the lane may not miss them.
    """
    beginning, end = bounds
    position = lane.table.position(topic)
    if position is None:
        return Position(beginning, origin)
    if position.origin.partitions != origin.partitions:
        raise PartitionCountError(
            f"{topic} had {position.origin.partitions} partitions when the state of {lane} was begun and has "
            f"{origin.partitions} now: its keys are in other partitions than their state"
        )
    if not position.origin.may_be(origin):
        raise TopicReplacedError(f"{topic} was deleted and made anew since the state of {lane} was written")
    place = f"{topic}-{lane.partition}"
    if position.offset > end:
        raise TopicReplacedError(
            f"{place} ends at offset {end}, before {position.offset}, to where {lane} has read it: "
            "it was made anew or has lost records"
        )
    if position.offset < beginning:
        gap = (
            f"{place} begins at offset {beginning}; the records from {position.offset} on, which {lane} has not read, "
            "are no longer there"
        )
        if topic not in lane.may_miss:
            raise OffsetGapError(gap)
        _log.warning("%s; it goes on without them", gap, extra=lane.fields)
        return Position(beginning, origin)
    return Position(position.offset, origin)
