"""Where a worker group is in the topics that it reads, as the broker knows it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream_qa.settings import Settings
from stream_qa.topics import existing_counts

_LOOK_AGAIN_SECONDS = 0.5
#: A group that is through with what there was within so long is live.
_LIVE_SECONDS = 10.0

#: Those that read the levels.
_STAGES = ("label", "member", "job", "notify")

Offsets = Mapping[TopicPartition, int]


class Look(NamedTuple):
    """Sums of offsets at one moment."""

    at: float
    """Seconds of a clock that only goes up."""
    beginning: int
    """Of the first records of the inputs that there are."""
    done: int
    """To where the label stage has committed them."""
    end: int
    waiting: int
    """Records between the stages that are not processed yet."""


class GroupOffsets:
    """Looks at a group; see :func:`group_offsets`.

    Parameters
    ----------
    settings
        The group's.
    counts
        The partition counts of the topics that it reads.
    consumer, admin
        Connected.
    """

    def __init__(
        self, settings: Settings, counts: Mapping[str, int], consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient
    ) -> None:
        self._group_id = settings.group_id
        self._consumer = consumer
        self._admin = admin
        levels = _levels(settings)
        #: The places that one stage reads, in the order of the flow.
        self._levels = [
            [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])] for topics in levels
        ]

    async def look(self) -> Look:
        """Return where the group is."""
        inputs, between = self._levels[0], [place for level in self._levels[1:] for place in level]
        committed = await self.committed()
        beginnings, ends = await self._beginnings([*inputs, *between]), await self._ends([*inputs, *between])

        def done(places: Sequence[TopicPartition]) -> int:
            return sum(max(committed.get(place, 0), beginnings[place]) for place in places)

        return Look(
            time.monotonic(),
            sum(beginnings[place] for place in inputs),
            done(inputs),
            sum(ends[place] for place in inputs),
            sum(ends[place] for place in between) - done(between),
        )

    async def lag(self) -> dict[str, int]:
        """Return how many records each stage has not processed yet, in the order of the flow."""
        committed = await self.committed()
        lag = {}
        for stage, places in zip(_STAGES, self._levels, strict=False):  # the last stage may be off
            beginnings, ends = await self._beginnings(places), await self._ends(places)
            lag[stage] = sum(ends[place] - max(committed.get(place, 0), beginnings[place]) for place in places)
        return lag

    async def come_through(self) -> None:
        """Return when all that the inputs have now has been taken through all stages."""
        for level in self._levels:
            ends = await self._ends(level)
            while True:
                committed = await self.committed()
                if all(committed.get(place, 0) >= end for place, end in ends.items()):
                    break
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def catch_up(self) -> None:
        """Return when the group is live: what the inputs had ten seconds ago has been taken through all stages."""
        while True:
            began = time.monotonic()
            await self.come_through()
            if time.monotonic() - began <= _LIVE_SECONDS:
                return

    async def is_done(self) -> bool:
        """Whether the group has read all there is, on every topic of the flow.

        What a stage has committed it has sent on before, so they are looked at in the order of the flow.
        """
        for level in self._levels:
            committed = await self.committed()
            ends = await self._ends(level)
            if any(committed.get(place, 0) < end for place, end in ends.items()):
                return False
        return True

    async def committed(self) -> Offsets:
        """Return where the group goes on, by place."""
        try:
            offsets = await self._admin.list_consumer_group_offsets(self._group_id)
        except GroupCoordinatorNotAvailableError:
            return {}  # the first group of a broker makes it set up what keeps groups
        return {place: found.offset for place, found in offsets.items()}

    async def _beginnings(self, places: list[TopicPartition]) -> Offsets:
        found: Offsets = await self._consumer.beginning_offsets(places)
        return found

    async def _ends(self, places: list[TopicPartition]) -> Offsets:
        found: Offsets = await self._consumer.end_offsets(places)
        return found


@asynccontextmanager
async def group_offsets(settings: Settings) -> AsyncIterator[GroupOffsets]:
    """Give what looks at the group of these settings.

    Raises
    ------
    TopicMissingError
        A topic that it reads does not exist.
    BrokerUnavailableError
        No broker answers.
    """
    counts = await existing_counts(settings.kafka, [topic for topics in _levels(settings) for topic in topics])
    options = settings.kafka.options()
    consumer, admin = AIOKafkaConsumer(**options), AIOKafkaAdminClient(**options)
    try:
        await asyncio.gather(consumer.start(), admin.start())
        yield GroupOffsets(settings, counts, consumer, admin)
    finally:
        await asyncio.gather(consumer.stop(), admin.close())


def _levels(settings: Settings) -> list[tuple[str, ...]]:
    """Return the topics that are read, stage by stage in the order of the flow."""
    topics = settings.topics
    learned = [(topics.applications, topics.engagements), (topics.labels,), (topics.examples,)]
    return [*learned, (topics.scores,)] if settings.notify_per_job_and_day else learned
