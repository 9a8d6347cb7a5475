"""A lane: one stage's partition, with its table, the next offset of each source, and the chunks not yet committed."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_qa.errors import OffsetGapError
from stream_qa.events import Message, SourceRecord
from stream_qa.stages.state import Outcome
from stream_qa.streaming.table import CHANGELOG_OFFSET, Table, pack_offset, position_key


class Chunk(NamedTuple):
    """What one fetch held for one partition."""

    topic: str
    partition: int
    session: int
    """The lane's session when it was fetched; in a later one it will be fetched again."""
    start: int
    """The partition's position before, control records counted."""
    end: int
    """The partition's position after."""
    records: Sequence[SourceRecord]


class Work(NamedTuple):
    """What a lane wants to have committed."""

    changes: dict[bytes, bytes | None]
    """To the table, and as the records of the changelog: the new positions are among them."""
    messages: list[Message]
    positions: dict[str, int]


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
    """

    stage: str
    partition: int
    sources: tuple[str, ...]
    changelog: str
    table: Table
    process: Callable[[Sequence[SourceRecord]], Outcome]
    positions: dict[str, int] = field(default_factory=dict)
    """The next offset of each source, as committed."""
    session: int = 0
    is_open: bool = False
    queued: int = 0
    """Records in the chunks that wait."""
    _chunks: deque[Chunk] = field(default_factory=deque)

    def __str__(self) -> str:
        return f"{self.stage}-{self.partition}"

    def open(self, positions: dict[str, int]) -> None:
        """Begin a session: from now on chunks that continue at ``positions`` are taken."""
        self.positions = positions
        self.session += 1
        self.is_open = True

    def drop(self) -> None:
        """End the session and forget what is not committed: it will be fetched again."""
        self.is_open = False
        self.session += 1
        self._chunks.clear()
        self.queued = 0

    def add(self, chunk: Chunk) -> bool:
        """Queue a chunk; return whether it belongs to this session."""
        if not self.is_open or chunk.session != self.session:
            return False
        self._chunks.append(chunk)
        self.queued += len(chunk.records)
        return True

    def step(self, most: int) -> Work | None:
        """Process the chunks that wait, about ``most`` records; ``None`` when none waits.

        Raises
        ------
        OffsetGapError
            A chunk does not continue where the one before it ended.
        """
        if not self._chunks:
            return None
        records, positions = self._take(most)
        outcome = self.process(records)
        changes = dict(outcome.changes)
        for topic, offset in positions.items():
            changes[position_key(topic)] = pack_offset(offset)
        return Work(changes, outcome.messages, positions)

    def store(self, work: Work, changelog_offset: int) -> None:
        """Write what was committed to the table, in one batch with the place in the changelog."""
        self.table.apply({**work.changes, CHANGELOG_OFFSET: pack_offset(changelog_offset)})
        self.positions = {**self.positions, **work.positions}

    def _take(self, most: int) -> tuple[list[SourceRecord], dict[str, int]]:
        records: list[SourceRecord] = []
        positions = dict(self.positions)
        while self._chunks and len(records) < most:
            chunk = self._chunks.popleft()
            self.queued -= len(chunk.records)
            if chunk.start != positions[chunk.topic]:
                raise OffsetGapError(
                    f"{chunk.topic}-{chunk.partition} continues at offset {chunk.start}, "
                    f"where {positions[chunk.topic]} was to come"
                )
            positions[chunk.topic] = chunk.end
            records += chunk.records
        return records, {topic: offset for topic, offset in positions.items() if offset != self.positions[topic]}
