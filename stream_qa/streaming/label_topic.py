"""The topic of labels, read to where it ends now: what there is to train on."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream_qa.errors import ExportError, RejectedError
from stream_qa.events import Decoder, Label, WireDecoder, wire
from stream_qa.settings import Settings
from stream_qa.streaming.topic_range import reader, records_between

_BATCH = 50_000


class PlacedLabel(NamedTuple):
    """A label and where it is in the topic."""

    partition: int
    offset: int
    label: wire.Label


class LabelBatch(NamedTuple):
    """Labels that follow on what was read before, and how far that comes."""

    labels: list[PlacedLabel]
    next_offsets: dict[int, int]
    """Where to go on, by partition: of all partitions."""
    refused: int
    """Records among them that are no labels."""
    left: int
    """Offsets that are still to be read, at most so many labels."""


async def label_batches(
    settings: Settings, next_offsets: Mapping[int, int] | None = None, *, until: int | None = None
) -> AsyncGenerator[LabelBatch, None]:
    """Yield the committed labels there are now, in batches; the last one may be empty.

    Parameters
    ----------
    settings
        The group's settings.
    next_offsets
        Where to begin, by partition; from the topic's beginning where none is named, or where that is gone.
    until
        What was written to the topic then or later (ms, the broker's clock) is left for another time.

    Raises
    ------
    ExportError
        The topic ends before where it was to be read from: it is another one.
    TopicMissingError
        There is no such topic.
    BrokerUnavailableError
        No broker answers.
    """
    decode = WireDecoder(wire.Label, Decoder(Label)).decode
    topic = settings.topics.labels
    async with reader(settings.kafka, topic) as consumer:
        begin, ends = await _range(consumer, next_offsets or {}, until)
        position = {place.partition: offset for place, offset in begin.items()}

        def batch(records: list[ConsumerRecord]) -> LabelBatch:
            labels = [
                PlacedLabel(record.partition, record.offset, label)
                for record, label in zip(records, decode([record.value for record in records]), strict=True)
                if not isinstance(label, RejectedError)
            ]
            left = sum(end - position[place.partition] for place, end in ends.items())
            return LabelBatch(labels, dict(position), len(records) - len(labels), left)

        records: list[ConsumerRecord] = []
        async with aclosing(records_between(consumer, begin, ends)) as found:
            async for record in found:
                records.append(record)
                position[record.partition] = record.offset + 1
                if len(records) == _BATCH:
                    yield batch(records)
                    records = []
        position |= {place.partition: end for place, end in ends.items()}
        yield batch(records)


async def _range(
    consumer: AIOKafkaConsumer, next_offsets: Mapping[int, int], until: int | None
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return where to begin and where to end, by partition."""
    places = sorted(consumer.assignment())
    kept, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    begin = {place: max(next_offsets.get(place.partition, 0), kept[place]) for place in places}
    for place in places:
        if begin[place] > ends[place]:
            raise ExportError(
                f"partition {place.partition} of {place.topic} ends at {ends[place]}, and is read to {begin[place]}: "
                "it is not the topic that was exported"
            )
    if until is not None:
        later = await consumer.offsets_for_times(dict.fromkeys(places, until))
        for place in places:
            if (first := later[place]) is not None:
                ends[place] = max(begin[place], min(ends[place], first.offset))
    return begin, ends
