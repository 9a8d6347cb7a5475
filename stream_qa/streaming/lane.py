"""A lane: one stage's partition, with its table, the next offset of each source, and the chunks not yet committed."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_qa.events import Message, SourceRecord
from stream_qa.stages.state import Outcome
from stream_qa.streaming.bugs import Process
from stream_qa.streaming.positions import UNKNOWN_TOPIC, Mark, Origin, Position, position_key
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.sources import Order, Sources
from stream_qa.streaming.table import Table

_log = logging.getLogger(__name__)

PASSED_SECONDS = 600.0
"""After these, control records alone are worth a transaction."""

#: Reasons that the log names: whoever writes events can make up kinds without end.
_REASONS = 100


class Work(NamedTuple):
    """What a lane wants to have committed."""

    changes: dict[bytes, bytes | None]
    """To the table, and as the records of the changelog: the new positions are among them."""
    messages: list[Message]
    positions: dict[str, int]
    records: int = 0
    """How many records it is of."""
    since: int | None = None
    """When the first of them came (ms); ``None`` where there is none."""
    outcome: Outcome | None = None
    """What the stage has made of them, where it was called."""


@dataclass(eq=False)
class Lane:
    """The unit that is restored and committed; its table holds committed state only.

    Parameters
    ----------
    stage
        The stage's name.
    partition
        The partition of the sources and of the changelog.
    sources
        The topics it reads.
    changelog
        The topic that has all of its table.
    table
        Its state.
    process
        The stage.
    order
        How several sources are taken together; ``None`` for as they come.
    may_miss
        The sources of which unread records may be gone without harm to what follows.
    """

    stage: str
    partition: int
    sources: tuple[str, ...]
    changelog: str
    table: Table
    process: Process
    order: Order | None = None
    may_miss: frozenset[str] = frozenset()
    positions: dict[str, int] = field(default_factory=dict)
    """The next offset of each source: as committed, and past control records, which say nothing to a stage."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Which topics the sources are."""
    changelog_id: bytes = UNKNOWN_TOPIC
    session: int = 0
    is_open: bool = False
    _unfinished: bool = False
    _left: list[SourceRecord] = field(default_factory=list)
    """Records that were taken, and that the stage has not used yet."""
    _after_left: dict[str, int] = field(default_factory=dict)
    """The positions after them."""
    _passed: dict[str, int] = field(default_factory=dict)
    """Positions after control records alone, which are not committed."""
    _stored_at: float = field(default_factory=time.monotonic)
    """When something was committed last, by the monotonic clock (s)."""
    _outbox: list[Message] = field(default_factory=list)
    _without_effect: set[str] = field(default_factory=set)
    """The reasons that the log has named."""

    def __post_init__(self) -> None:
        self.waiting = Sources(self.sources, self.order)

    @property
    def has_left(self) -> bool:
        """Whether records were taken that the stage has not used yet."""
        return bool(self._left)

    @property
    def is_behind(self) -> bool:
        """Whether something is left to do before what waits."""
        return self._unfinished or self.has_left

    @property
    def fields(self) -> dict[str, object]:
        """What stands beside a sentence about it in the log."""
        return {"stage": self.stage, "partition": self.partition}

    def __str__(self) -> str:
        return f"{self.stage}-{self.partition}"

    def open(
        self,
        positions: Mapping[str, Position],
        changelog_id: bytes = UNKNOWN_TOPIC,
        behind: Mapping[str, int] | None = None,
    ) -> None:
        """Begin a session: chunks that continue at ``positions`` are taken, with so many offsets still to come."""
        self.waiting.open({topic: position.offset for topic, position in positions.items()}, behind or {})
        self.positions = {topic: position.offset for topic, position in positions.items()}
        self.origins = {topic: position.origin for topic, position in positions.items()}
        self.changelog_id = changelog_id
        self.session += 1
        self.is_open = True
        self._left = []
        self._passed = {}
        self._stored_at = time.monotonic()
        # What had fallen due and was not done may be long in coming with the next record.
        self._unfinished = True

    def drop(self) -> None:
        """End the session and forget what is not committed: it will be fetched again."""
        self.is_open = False
        self.session += 1
        self.waiting.open({}, {})
        self._left = []
        self._outbox = []

    def add(self, chunk: Chunk) -> bool:
        """Queue a chunk; return whether it belongs to this session and brings something new."""
        return self.is_open and chunk.session == self.session and self.waiting.add(chunk)

    def send(self, message: Message) -> None:
        """Send a message with the next transaction; it is lost with the session."""
        self._outbox.append(message)

    def step(self, most: int) -> Work | None:
        """Process the chunks that wait, about ``most`` records; ``None`` when there is nothing to commit.

        Raises
        ------
        OffsetGapError
            A chunk does not continue where the one before it ended.
        """
        records, positions = self._left, self._after_left
        if not records:
            records, positions = self.waiting.take(most, self.positions)
        changes: dict[bytes, bytes | None] = {}
        messages: list[Message] = []
        outcome: Outcome | None = None
        if records or self._unfinished:
            outcome = self.process(records, self.table)
            changes, messages, self._unfinished = outcome.changes, outcome.messages, outcome.unfinished
            self._name(outcome.counted)
            records, positions = self._used(records, positions, outcome.left)
        messages, self._outbox = [*self._outbox, *messages], []
        if not (records or changes or messages):
            # Control records alone are not worth a transaction at once: read again, they are passed again. But where
            # nothing else comes for as long as they are kept, they are gone then, and nobody could tell from what.
            self.positions |= positions
            self._passed |= positions
            if not self._passed or time.monotonic() < self._stored_at + PASSED_SECONDS:
                return None
        positions = self._passed | positions
        for topic, offset in positions.items():
            changes[position_key(topic)] = Position(offset, self.origins[topic]).pack()
        return Work(changes, messages, positions, len(records), records[0].timestamp if records else None, outcome)

    def _used(
        self, records: list[SourceRecord], positions: dict[str, int], left: int
    ) -> tuple[list[SourceRecord], dict[str, int]]:
        """Return the records that were used and the positions after them, and keep those that are left."""
        count = len(records) - left
        self._left, self._after_left = records[count:], positions
        if left:
            positions = {record.topic: record.offset + 1 for record in records[:count]}
        return records[:count], positions

    def _name(self, reasons: Iterable[str]) -> None:
        """Say what is used and changes nothing when it is seen first: a misspelt kind would go unnoticed."""
        for reason in reasons:
            if reason not in self._without_effect and len(self._without_effect) < _REASONS:
                self._without_effect.add(reason)
                _log.warning("%s: input without effect: %s", self, reason, extra=self.fields)

    def store(self, work: Work, changelog_offset: int) -> None:
        """Write what was committed to the table, in one batch with the place in the changelog."""
        self.table.store(work.changes, Mark(changelog_offset, round(time.time() * 1000), self.changelog_id))
        self.positions |= work.positions
        self._passed = {}
        self._stored_at = time.monotonic()
        if work.outcome is None:
            return
        for notice in work.outcome.notices:
            _log.warning("%s: %s", self, notice, extra=self.fields)
        for entity_id, why in work.outcome.held_back:
            _log.debug("%s: %s is held back: %s", self, entity_id, why, extra=self.fields)
