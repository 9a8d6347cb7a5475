"""The state that a stage works on: ordered keys and values, raw bytes both."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from sortedcontainers import SortedDict

from stream_qa.events import Message
from stream_qa.learning.arrays import Integers
from stream_qa.learning.drift import Seen

Changes = Mapping[bytes, bytes | None]
"""What to put under each key; ``None`` deletes it."""


class StateReader(Protocol):
    """What a stage may do itself: read. It never writes; it returns the changes."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, in the keys' order; ``None`` where there is none."""

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the items with ``start <= key < end`` in the order of their keys' bytes."""


class State(StateReader, Protocol):
    """What the driver of a stage does as well."""

    def apply(self, changes: Changes) -> None:
        """Put and delete many, all or nothing."""


class Outcome(NamedTuple):
    """What a stage made of a chunk."""

    changes: dict[bytes, bytes | None]
    messages: list[Message]
    unfinished: bool = False
    """Whether there is more to do that needs no further records: then the stage is to be called again."""
    counted: Mapping[str, int] = MappingProxyType({})
    """How much of the input was used and changes nothing, by why; 0 where something is only to be said once."""
    lessons: int = 0
    """How many of the messages are labels that change what is learned, so that examples of them will come."""
    reasons: Mapping[str, int] = MappingProxyType({})
    """How many of the messages are labels, by why they say what they say."""
    ages: Sequence[int] = ()
    """Event time (ms) from the application to what the label says, of each of those that have a value."""
    seen: Sequence[Seen] = ()
    """What of the input can be compared with the model's training data."""
    notices: Sequence[str] = ()
    """What somebody should know."""
    held_back: Sequence[tuple[str, str]] = ()
    """Whose coefficients are newly held back, each with why; ``released`` where they are no more."""
    delta_times: Sequence[Integers] = ()
    """Event time (ms) of the newest label that went into each delta, shape ``(n,)`` for each part of the chunk."""
    left: int = 0
    """How many records, the last ones, were not used: they are to be given again, when these changes are applied."""


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what a stage made of the parts of a chunk, one after the other, as of the chunk; there is at least one."""
    changes: dict[bytes, bytes | None] = {}
    counted: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for outcome in outcomes:
        changes.update(outcome.changes)
        # Their sum would be without what was counted 0 times, which is to be said all the same.
        counted.update(outcome.counted)
        reasons.update(outcome.reasons)
    last = outcomes[-1]
    return Outcome(
        changes=changes,
        messages=[message for outcome in outcomes for message in outcome.messages],
        unfinished=last.unfinished,
        counted=counted,
        lessons=sum(outcome.lessons for outcome in outcomes),
        reasons=reasons,
        ages=[age for outcome in outcomes for age in outcome.ages],
        seen=[seen for outcome in outcomes for seen in outcome.seen],
        notices=[notice for outcome in outcomes for notice in outcome.notices],
        held_back=[held_back for outcome in outcomes for held_back in outcome.held_back],
        delta_times=[times for outcome in outcomes for times in outcome.delta_times],
        left=last.left,
    )


class MemoryState:
    """State that lives and dies with the process."""

    def __init__(self) -> None:
        self._items: SortedDict[bytes, bytes] = SortedDict()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key."""
        return [self._items.get(key) for key in keys]

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the items with ``start <= key < end`` in order."""
        for key in self._items.irange(start, end, inclusive=(True, False)):
            yield key, self._items[key]

    def apply(self, changes: Changes) -> None:
        """Put and delete many."""
        for key, value in changes.items():
            if value is None:
                self._items.pop(key, None)
            else:
                self._items[key] = value
