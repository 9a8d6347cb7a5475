"""A lane: one stage's partition, with its table, the next offset of each source, and the chunks not yet committed."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_qa.errors import OffsetGapError
from stream_qa.events import Message, SourceRecord
from stream_qa.streaming.bugs import Process
from stream_qa.streaming.positions import UNKNOWN_TOPIC, Mark, Origin, Position, position_key
from stream_qa.streaming.table import Table


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
    process: Process
    positions: dict[str, int] = field(default_factory=dict)
    """The next offset of each source: as committed, and past control records, which say nothing to a stage."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Which topics the sources are."""
    changelog_id: bytes = UNKNOWN_TOPIC
    session: int = 0
    is_open: bool = False
    queued: int = 0
    """Records in the chunks that wait."""
    _chunks: deque[Chunk] = field(default_factory=deque)

    def __str__(self) -> str:
        return f"{self.stage}-{self.partition}"

    def open(self, positions: Mapping[str, Position], changelog_id: bytes = UNKNOWN_TOPIC) -> None:
        """Begin a session: from now on chunks that continue at ``positions`` are taken."""
        self.positions = {topic: position.offset for topic, position in positions.items()}
        self.origins = {topic: position.origin for topic, position in positions.items()}
        self.changelog_id = changelog_id
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
        """Process the chunks that wait, about ``most`` records; ``None`` when there is nothing to commit.

        Raises
        ------
        OffsetGapError
            A chunk does not continue where the one before it ended.
        """
        records, positions = self._take(most)
        if not records:
            # Control records alone are not worth a transaction; read again, they are passed again.
            self.positions |= positions
            return None
        changes, messages = self.process(records, self.table)
        for topic, offset in positions.items():
            changes[position_key(topic)] = Position(offset, self.origins[topic]).pack()
        return Work(changes, messages, positions)

    def store(self, work: Work, changelog_offset: int) -> None:
        """Write what was committed to the table, in one batch with the place in the changelog."""
        self.table.store(work.changes, Mark(changelog_offset, round(time.time() * 1000), self.changelog_id))
        self.positions |= work.positions

    def _take(self, most: int) -> tuple[list[SourceRecord], dict[str, int]]:
        """Return the next records, and where the sources are after them that have moved."""
        records: list[SourceRecord] = []
        positions: dict[str, int] = {}
        while self._chunks and len(records) < most:
            chunk = self._chunks.popleft()
            self.queued -= len(chunk.records)
            expected = positions.get(chunk.topic, self.positions[chunk.topic])
            if chunk.start != expected:
                raise OffsetGapError(
                    f"{chunk.topic}-{chunk.partition} continues at offset {chunk.start}, where {expected} was to come"
                )
            positions[chunk.topic] = chunk.end
            records += chunk.records
        return records, positions
