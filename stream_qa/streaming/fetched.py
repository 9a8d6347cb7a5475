"""What the client library has fetched for a partition, with the exact range of offsets that it covers."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult

from stream_qa.events import Record


class Fetched(NamedTuple):
    """Records of one partition."""

    start: int
    """The position before, control records and aborted ones counted."""
    end: int
    """The position after."""
    records: list[Any]
    behind: int
    """How many offsets there are beyond ``end`` that can be read, when this was fetched."""


def record(place: TopicPartition, found: Any) -> Record:  # noqa: ANN401 # the library's own, in C
    """Return a record as the stages know it."""
    return Record(place.topic, place.partition, found.offset, found.key, found.value, found.headers, found.timestamp)


def change(_place: TopicPartition, found: Any) -> tuple[bytes, bytes | None]:  # noqa: ANN401
    """Return what a changelog's record puts where."""
    return found.key, found.value


def is_result(fetcher: Any, place: TopicPartition) -> bool:  # noqa: ANN401
    """Whether what was fetched for ``place`` is records, and not an error."""
    return type(fetcher._records[place]) is FetchResult  # noqa: SLF001


def take(fetcher: Any, place: TopicPartition, make: Callable[[TopicPartition, Any], Any]) -> Fetched | None:  # noqa: ANN401
    """Take what is fetched for one partition; ``None`` where it was fetched for an assignment or position that is over.

    Parameters
    ----------
    fetcher
        The library's fetcher, with something for ``place``.
    place
        The partition.
    make
        Makes the records: the library's own have eleven fields and cost more than reading the bytes.

    Raises
    ------
    aiokafka.errors.KafkaError
        The partition could not be fetched.
    """
    result = fetcher._records[place]  # noqa: SLF001 # the library's public calls hide the offset ranges
    if not is_result(fetcher, place):
        discard(fetcher, place)
        result.check_raise()
    if not result._assignment.active:  # noqa: SLF001
        discard(fetcher, place)
        return None
    state = result._assignment.state_value(place)  # noqa: SLF001
    start: int = state.position
    result._partition_records._consumer_record = make  # noqa: SLF001 # its one place where records are made
    records = result.getall(None)
    if not result.has_more():
        discard(fetcher, place)
    if state.position == start:
        return None
    return Fetched(start, state.position, records, max(0, (state.lso or 0) - state.position))


def pass_by(fetcher: Any, place: TopicPartition, offset: int) -> None:  # noqa: ANN401
    """Go on at ``offset`` without what comes before it, be it on its way; never back."""
    subscriptions = fetcher._subscriptions  # noqa: SLF001
    if not subscriptions.is_assigned(place):
        return
    state = subscriptions.subscription.assignment.state_value(place)
    if state.has_valid_position and state.position < offset:
        fetcher.seek_to(place, offset)


def discard(fetcher: Any, place: TopicPartition) -> None:  # noqa: ANN401
    """Make room in the fetcher, which then asks the broker for more."""
    del fetcher._records[place]  # noqa: SLF001
    fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001


async def wait(fetcher: Any, seconds: float, *others: "asyncio.Future[Any]") -> None:  # noqa: ANN401
    """Return when something more is fetched, when one of ``others`` is done, or after some time.

    Raises
    ------
    aiokafka.errors.KafkaError
        The group's coordinator refuses us.
    """
    more = fetcher._create_fetch_waiter()  # noqa: SLF001
    await asyncio.wait([more, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if more.done():
        more.result()
    else:
        more.cancel()
