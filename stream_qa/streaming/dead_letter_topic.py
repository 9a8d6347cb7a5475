"""The topic of dead letters: what lies there, and sending it to where it came from, once.

A letter and the note that it was sent again are one transaction. All who send letters again share a transactional id,
and whoever initialises it ends what the one before has begun; then all notes are read, then letters are sent. So a
letter is sent once whenever a command is killed, and however many run.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream_qa.errors import OutcomeUnknownError, TopicMissingError, UnknownLetterError
from stream_qa.events.dead_letter import DeadLetter, Selection, read_letter, redriven_note, redriven_offset
from stream_qa.settings import Settings
from stream_qa.streaming.batches import Batches
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.topic_range import reader, records_between
from stream_qa.streaming.transactions import Transactions
from stream_qa.topics import partition_counts

_log = logging.getLogger(__name__)

_TRANSACTION_SECONDS = 60.0
_TRIES = 5
_WAIT_SECONDS = 1.0
#: Of letters in one transaction: enough to be quick, few enough for memory.
_LETTERS = 500
_BYTES = 8_000_000

Place = tuple[int, int]
"""A partition of the dead letters, and an offset there."""
Letter = tuple[DeadLetter, ConsumerRecord]


@dataclass
class Lying:
    """What lies in the dead letters."""

    letters: list[DeadLetter] = field(default_factory=list)
    """By partition, in the order of the log."""
    redriven: set[Place] = field(default_factory=set)
    """Those that were sent again."""
    others: int = 0
    """Records that are no dead letters."""

    def is_redriven(self, letter: DeadLetter) -> bool:
        """Whether a letter was sent again."""
        return (letter.partition, letter.offset) in self.redriven


@dataclass
class Redrive:
    """What was sent again, or would be."""

    sent: list[DeadLetter] = field(default_factory=list)
    left: int = 0
    """Letters beyond the limit."""
    redriven_before: int = 0
    not_ours: int = 0
    """Letters whose source is no topic that the stages read, such as a line of a replayed log."""
    too_large: int = 0
    """Letters without their record, which was too large for the dead letters."""


async def lying(settings: Settings, chosen: Selection) -> Lying:
    """Return the dead letters that are meant, of all that are committed now.

    Raises
    ------
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    async with reader(settings.kafka, settings.topics.dead_letters) as consumer:
        ends = await consumer.end_offsets(sorted(consumer.assignment()))
        return await _lying(consumer, ends, chosen)


async def letter_at(settings: Settings, partition: int, offset: int) -> tuple[DeadLetter, ConsumerRecord]:
    """Return one dead letter, with its record.

    Raises
    ------
    UnknownLetterError
        There is none at this place.
    """
    place = TopicPartition(settings.topics.dead_letters, partition)
    async with reader(settings.kafka, settings.topics.dead_letters) as consumer:
        # Of all: the client cannot be closed before it has been asked for anything.
        ends = await consumer.end_offsets(sorted(consumer.assignment()))
        begin = await consumer.beginning_offsets(list(ends))
        if place in ends and begin[place] <= offset < ends[place]:
            async with aclosing(records_between(consumer, {place: offset}, {place: ends[place]})) as records:
                async for record in records:
                    letter = read_letter(record)
                    if record.offset == offset and letter is not None:
                        return letter, record
                    break
    raise UnknownLetterError(f"there is no dead letter {partition}:{offset}")


async def redrive(
    settings: Settings,
    chosen: Selection,
    most: int | None,
    *,
    dry_run: bool,
    told: Callable[[Sequence[DeadLetter]], None],
) -> Redrive:
    """Send dead letters to the topics that they came from, the oldest of each partition first, each once ever.

    Parameters
    ----------
    settings
        The group's settings.
    chosen
        Which are meant.
    most
        How many at most; ``None`` for all.
    dry_run
        Only find out which.
    told
        Called with what was just committed.

    Raises
    ------
    FencedError
        Another one has begun to send letters again: what ``told`` was called with was sent, nothing else.
    OutcomeUnknownError
        The broker did not say, again and again, whether the last letters were sent. Those that were are known when this
        is done again.
    TransactionRefusedError
        The broker will never take a letter, which is larger than its topic allows, or lets nobody write here.
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    if dry_run:
        return _plan(settings, await lying(settings, chosen), most)
    topics = settings.topics
    sources = _sources(settings)
    connections = Connections(settings.kafka, settings.group_id, [topics.dead_letters, *sources])
    transactions = Transactions(connections, f"{topics.dead_letters}-redrive", _TRANSACTION_SECONDS)
    counts = await partition_counts(settings.kafka, sources)
    planned: Redrive | None = None
    try:
        async with (
            reader(settings.kafka, topics.dead_letters) as consumer,
            reader(settings.kafka, topics.dead_letters, "read_uncommitted") as other,
        ):
            tries_left = _TRIES
            while True:
                tries_left -= 1
                await transactions.initialise()
                # A note can lie behind a transaction of a worker that is still open: only the true end has them all.
                ends = await other.end_offsets(sorted(other.assignment()))
                found = await _lying(consumer, ends, chosen)
                planned = planned or _plan(settings, found, most)
                left = [letter for letter in planned.sent if not found.is_redriven(letter)]
                try:
                    async with aclosing(_in_parts(consumer, left)) as parts:
                        async for part in parts:
                            await transactions.write(_batches(settings, part, counts))
                            await transactions.commit()
                            told([letter for letter, _ in part])
                except OutcomeUnknownError as error:
                    if not tries_left:
                        raise
                    _log.warning("looking at what was sent, and trying again: %s", error)
                    await asyncio.sleep(_WAIT_SECONDS)
                else:
                    return planned
    finally:
        await connections.stop()


def _sources(settings: Settings) -> list[str]:
    """Return the topics that the stages read."""
    topics = settings.topics
    return [topics.applications, topics.engagements, topics.ticks, topics.labels, topics.examples, topics.scores]


def _plan(settings: Settings, found: Lying, most: int | None) -> Redrive:
    sources = set(_sources(settings))
    ours = [letter for letter in found.letters if letter.source_topic in sources]
    whole = [letter for letter in ours if not letter.left_out]
    waiting = [letter for letter in whole if not found.is_redriven(letter)]
    sent = sorted(waiting, key=lambda letter: (letter.kept_at, letter.partition, letter.offset))[:most]
    return Redrive(
        sent=sorted(sent, key=lambda letter: (letter.partition, letter.offset)),
        left=len(waiting) - len(sent),
        redriven_before=len(whole) - len(waiting),
        not_ours=len(found.letters) - len(ours),
        too_large=len(ours) - len(whole),
    )


async def _in_parts(consumer: AIOKafkaConsumer, letters: Sequence[DeadLetter]) -> AsyncGenerator[list[Letter], None]:
    """Yield letters with their bytes, those that are still there, as many at a time as one transaction takes."""
    wanted = {(letter.partition, letter.offset): letter for letter in letters}
    places = {place.partition: place for place in consumer.assignment()}
    begin = {places[letter.partition]: letter.offset for letter in reversed(letters)}
    end = {places[letter.partition]: letter.offset + 1 for letter in letters}
    part: list[Letter] = []
    async with aclosing(records_between(consumer, begin, end)) as records:
        async for record in records:
            letter = wanted.get((record.partition, record.offset))
            if letter is None:
                continue
            part.append((letter, record))
            if len(part) == _LETTERS or sum(each.bytes for each, _ in part) > _BYTES:
                yield part
                part = []
    if part:
        yield part


def _batches(settings: Settings, part: Sequence[Letter], counts: Mapping[str, int | None]) -> Batches:
    """Return a transaction: the letters, and the notes that they were sent again."""
    topic = settings.topics.dead_letters
    batches = Batches()
    for letter, record in part:
        note = redriven_note(topic, record)
        partition = _partition(settings, letter, record.key, counts[letter.source_topic])
        batches.add((letter.source_topic, partition), record.key, record.value, record.headers)
        batches.add((topic, record.partition), note.key, note.value, note.headers)
    return batches


def _partition(settings: Settings, letter: DeadLetter, key: bytes | None, count: int | None) -> int:
    """Return the partition of its topic to which a letter goes."""
    if count is None:
        raise TopicMissingError(f"the broker has no topic {letter.source_topic}; run `stream-qa topics apply`")
    # Where producers have a partitioner of their own, only the record itself knows where it belongs. So it is of ticks.
    if settings.partitioner == "unchecked" or letter.source_topic == settings.topics.ticks:
        return letter.source_partition
    return partition_of(key, count)


async def _lying(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], chosen: Selection) -> Lying:
    found = Lying()
    begin = await consumer.beginning_offsets(list(ends))
    async with aclosing(records_between(consumer, begin, ends)) as records:
        async for record in records:
            if (offset := redriven_offset(record)) is not None:
                found.redriven.add((record.partition, offset))
            elif (letter := read_letter(record)) is None:
                found.others += 1
            elif letter in chosen:
                found.letters.append(letter)
    found.letters.sort(key=lambda letter: (letter.partition, letter.offset))
    return found
