"""How far back the inputs go: what a generation that begins now can learn from."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_qa.bundle import load_bundle
from stream_qa.errors import IncompleteInputsError
from stream_qa.events import wire
from stream_qa.settings import Settings
from stream_qa.topics import existing_counts

_POLL_MILLISECONDS = 200


@dataclass(frozen=True)
class Inputs:
    """What there is of both inputs."""

    records: int
    gone: int
    """Records that retention has taken from their beginnings."""
    since: int | None
    """The event time (ms) of the first event of any partition; ``None`` where there is none."""
    arrived_at: int | None
    """When the first record of any came in (ms)."""


def check_inputs(inputs: Inputs, bundle: Path | None, *, warm_start: bool) -> None:
    """Check that a generation that reads the inputs from their beginning learns all there was, and nothing twice.

    Raises
    ------
    IncompleteInputsError
        It would not.
    """
    if warm_start and bundle is not None:
        until = load_bundle(bundle).manifest.description.until
        if inputs.since is not None and until > inputs.since:
            raise IncompleteInputsError(
                f"the bundle has learned until {in_words(until)}, and the inputs go back to {in_words(inputs.since)}: "
                f"what lies between would count twice; train it with --until {in_words(inputs.since)}"
            )
    elif inputs.gone:
        raise IncompleteInputsError(
            f"the first {inputs.gone} records of the inputs are gone, which go back to "
            f"{'nothing' if inputs.since is None else in_words(inputs.since)}; what was before would not be learned"
        )


async def read_inputs(settings: Settings) -> Inputs:
    """Look at the beginnings and ends of both inputs.

    Raises
    ------
    TopicMissingError
        One does not exist.
    BrokerUnavailableError
        No broker answers.
    """
    topics = settings.topics
    counts = await existing_counts(settings.kafka, [topics.applications, topics.engagements])
    places = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
    consumer = AIOKafkaConsumer(
        **settings.kafka.options(),
        isolation_level="read_committed",
        enable_auto_commit=False,
        # Retention goes on while this reads.
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        beginnings, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        left = {place for place in places if beginnings[place] < ends[place]}
        if left:
            consumer.assign(sorted(left))
        for place in left:
            consumer.seek(place, beginnings[place])
        times: list[int] = []
        arrived: list[int] = []
        while left:
            for place, records in (await consumer.getmany(*left, timeout_ms=_POLL_MILLISECONDS)).items():
                arrived.append(records[0].timestamp)
                field: wire.TimeField = "applied_at" if place.topic == topics.applications else "engaged_at"
                times += [time for record in records if (time := wire.event_time(record.value, field))][:1]
                left.discard(place)
            left = {place for place in left if await consumer.position(place) < ends[place]}
        return Inputs(
            sum(ends[place] - beginnings[place] for place in places),
            sum(beginnings.values()),
            min(times, default=None),
            min(arrived, default=None),
        )
    finally:
        await consumer.stop()


def in_words(moment: int) -> str:
    """Return a moment (ms since the epoch) as `stream-qa train --until` takes it."""
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
