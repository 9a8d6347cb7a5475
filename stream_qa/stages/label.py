"""The label stage: applications and engagements of a job's partition in, revisions of labels out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from msgspec import Raw

from stream_qa.errors import RejectedError, WrongPartitionError
from stream_qa.events import Message, SourceRecord, TopicNames, WireDecoder, dead_letter, wire
from stream_qa.labels import LabelPolicy
from stream_qa.labels.event_time import CLOCK, NOT_BEGUN, Clock
from stream_qa.labels.silence import silence_says
from stream_qa.learning.arrays import distinct
from stream_qa.learning.drift import Seen
from stream_qa.learning.entity import entity_key
from stream_qa.learning.whitening import WHITENINGS
from stream_qa.stages.label_chunk import WHAT_IS_DUE, Event, LabelChunk, Revision
from stream_qa.stages.models import Model, Models, choose
from stream_qa.stages.state import Outcome, StateReader
from stream_qa.stages.upkeep import with_upkeep

Belongs = Callable[[str], bool]
"""Whether a job's events belong into a partition."""


class Quiet(NamedTuple):
    """Which inputs of a partition are read to their end and have been quiet for long enough."""

    applications: bool
    engagements: bool
    milliseconds: int
    """How far the present is from the newest event that was read; below 0 while the other input still brings some."""
    least: int = NOT_BEGUN
    """Which event time (ms) the present has come to at least."""


@dataclass(frozen=True)
class LabelStage:
    """Labels the applications of a partition.

    Parameters
    ----------
    topics
        The names of the topics.
    policy
        What counts as hearing back.
    models
        What applications can be scored by. Every label names the one by which it was.
    applications, engagements, ticks
        Decode the inputs.
    most_due
        Applications that may fall due in one chunk, about: what is more waits for the next.
    name
        Names the stage in dead letters.
    """

    topics: TopicNames
    policy: LabelPolicy
    models: Models
    applications: WireDecoder[wire.Application]
    engagements: WireDecoder[wire.Engagement]
    ticks: WireDecoder[wire.Tick]
    most_due: int = 5_000
    name: str = "label"

    def process(
        self,
        partition: int,
        records: Sequence[SourceRecord],
        state: StateReader,
        jobs: StateReader,
        belongs: Belongs | None = None,
    ) -> Outcome:
        """Return what a chunk of one partition, in the order it was read, changes and sends.

        What falls due is done before newer events are taken: where it is much, records are left.

        Parameters
        ----------
        partition
            The partition of both inputs.
        records
            Records of the applications and the engagements topic.
        state
            The label table of the partition.
        jobs
            The job learner's table of the partition.
        belongs
            Whether a job's events belong into this partition; ``None`` where that is known.

        Raises
        ------
        ModelMissingError
            The model by which the partition scores is not here.
        """
        model, taking_up, refused = choose(self.models, state)
        silence = silence_says(self.policy.silence, model.curves)
        chunk = LabelChunk(self.policy, model.feature_schema, silence, state, self.most_due, partition=partition)
        usable = [] if chunk.is_behind else records
        events = self._decode(usable)
        if belongs is not None:
            events = _in_their_place(events, belongs)
        left = len(records) - chunk.process(usable, events)
        rejected = [dead_letter(self.topics.dead_letters, self.name, record, error) for record, error in chunk.rejected]
        with with_upkeep(WHAT_IS_DUE, lambda: self._labels(model, partition, chunk.due_revisions, jobs)):
            labels = self._labels(model, partition, chunk.revisions, jobs)
        # Said with what is counted, which is said once; no input is in vain by it.
        chunk.counted.update(dict.fromkeys(refused, 0))
        return Outcome(
            chunk.changes | taking_up,
            [*rejected, *labels],
            chunk.unfinished,
            chunk.counted,
            chunk.lessons,
            reasons=Counter(revision.verdict.reason for revision in chunk.revisions),
            ages=[
                revision.verdict.happened_at - revision.application.applied_at
                for revision in chunk.revisions
                if revision.verdict.value is not None
            ],
            seen=_seen(model, chunk),
            left=left,
        )

    def event_times(self, records: Sequence[SourceRecord]) -> list[int]:
        """Return when each record happened (ms); 0 for one that does not say, which is no event."""
        field_of: dict[str, wire.TimeField] = {
            self.topics.applications: "applied_at",
            self.topics.engagements: "engaged_at",
            self.topics.ticks: "reached_at",
        }
        return [wire.event_time(record.value, field_of[record.topic]) for record in records]

    def watermark(self, state: StateReader) -> int:
        """Return the event time (ms) of a partition; ``NOT_BEGUN`` before both inputs have begun."""
        (record,) = state.get_many([CLOCK])
        return Clock.unpack(record).watermark(self.policy.lateness)

    def tick(self, partition: int, state: StateReader, quiet: Quiet) -> wire.Tick | None:
        """Return what moves the event time of quiet inputs on; ``None`` where there is nothing to move."""
        (record,) = state.get_many([CLOCK])
        clock = Clock.unpack(record)
        reached_at = max(clock.present + quiet.milliseconds, quiet.least)
        applications = quiet.applications and clock.applications.reached < reached_at
        engagements = quiet.engagements and clock.engagements.reached < reached_at
        if clock.present == NOT_BEGUN or not (applications or engagements):
            return None
        return wire.Tick(partition, reached_at, applications, engagements)

    def message_of(self, tick: wire.Tick) -> Message:
        """Return the message of a tick, which is for its partition alone."""
        return Message(self.topics.ticks, b"%d" % tick.partition, wire.encode(tick), partition=tick.partition)

    def _decode(self, records: Sequence[SourceRecord]) -> list[Event | RejectedError]:
        """Decode a chunk of all inputs, in its order."""
        decoders: dict[str, WireDecoder[Any]] = {
            self.topics.applications: self.applications,
            self.topics.engagements: self.engagements,
            self.topics.ticks: self.ticks,
        }
        decoded = {
            topic: iter(decoder.decode(record.value for record in records if record.topic == topic))
            for topic, decoder in decoders.items()
        }
        return [next(decoded[record.topic]) for record in records]

    def _labels(self, model: Model, partition: int, revisions: Sequence[Revision], jobs: StateReader) -> list[Message]:
        """Return the messages for ``revisions``, with the job's part of the score as it stands now."""
        if not revisions:
            return []
        applications = [revision.application for revision in revisions]
        job_ids, job_of = distinct([application.job_id for application in applications])
        whitenings, *stored = jobs.get_many([WHITENINGS, *map(entity_key, job_ids)])
        features = np.array(wire.vectors([application.member_features for application in applications]), np.float64)
        by_job = self.models.first.job_effect.score(stored, job_of, features, whitenings)
        columns = (model.global_model.log_odds(applications, features), *by_job)
        return [
            self._label(model, partition, revision, parts)
            for revision, parts in zip(
                revisions, zip(*(column.tolist() for column in columns), strict=True), strict=True
            )
        ]

    def _label(self, model: Model, partition: int, revision: Revision, parts: tuple[float, float, int]) -> Message:
        global_log_odds, job_log_odds, job_version = parts
        application, verdict = revision.application, revision.verdict
        label = wire.Label(
            application.application_id,
            application.member_id,
            application.job_id,
            revision.number,
            verdict.value,
            verdict.weight,
            verdict.final,
            verdict.reason,
            verdict.happened_at,
            application.applied_at,
            application.feature_schema,
            Raw(application.member_features),
            Raw(application.job_features),
            global_log_odds,
            job_log_odds,
            job_version,
            partition,
            revision.watermark,
            model.version,
            model.number,
            application.global_log_odds is not None,
        )
        return Message(self.topics.labels, application.member_id.encode(), wire.encode(label))


def _in_their_place(events: list[Event | RejectedError], belongs: Belongs) -> list[Event | RejectedError]:
    """Return the events, those of jobs that belong into other partitions as the error that says so."""
    jobs = {event.job_id for event in events if isinstance(event, wire.Application | wire.Engagement)}
    elsewhere = {job_id for job_id in jobs if not belongs(job_id)}
    if not elsewhere:
        return events
    return [
        WrongPartitionError("Kafka's own partitioner, murmur2 of the job's id, puts it into another partition")
        if isinstance(event, wire.Application | wire.Engagement) and event.job_id in elsewhere
        else event
        for event in events
    ]


def _seen(model: Model, chunk: LabelChunk) -> list[Seen]:
    """Return what a chunk has to be compared with the model's training: new applications, and those that close."""
    opened = [revision.application for revision in chunk.revisions if revision.number == 1]
    if model.profile is None or not (opened or chunk.closed):
        return []
    return [
        Seen(
            model.number,
            model.profile,
            [application.member_features for application in opened],
            [application.job_features for application in opened],
            [value for value, _ in chunk.closed],
            [after for value, after in chunk.closed if value == 1 and after is not None],
        )
    ]
