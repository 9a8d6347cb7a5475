"""The label stage: applications and engagements of a job's partition in, revisions of labels out."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_

import numpy as np
from msgspec import Raw, Struct

from stream_qa.errors import FeatureSchemaMismatchError, LateApplicationError, OrphanEngagementError, RejectedError
from stream_qa.events import Message, SourceRecord, TopicNames, WireDecoder, dead_letter, wire
from stream_qa.labels import LabelPolicy, LifeCycle, Verdict
from stream_qa.labels.event_time import (
    APPLICATIONS_REACHED,
    APPLIED,
    ENGAGEMENTS_REACHED,
    WAITING,
    Due,
    ages,
    index_entry,
    index_key,
    index_range,
    life_cycle_key,
    pack_moment,
    unpack_moment,
    watermark,
)
from stream_qa.labels.life_cycle import KnownApplication
from stream_qa.labels.record import pack, unpack
from stream_qa.learning import GlobalModel, RandomEffect
from stream_qa.learning.entity import entity_key
from stream_qa.learning.features import FeatureSchema
from stream_qa.stages.state import Outcome, StateReader

_FEATURE_SCHEMA = b"feature-schema"


class Revision(Struct, frozen=True, gc=False):
    """A label to be sent."""

    application: KnownApplication
    number: int
    verdict: Verdict
    watermark: int


@dataclass(frozen=True)
class LabelStage:
    """Labels the applications of a partition.

    Parameters
    ----------
    topics
        The names of the topics.
    policy
        What counts as hearing back.
    global_model
        Scores every application.
    job_effect
        Reads the job's part of the score from the job learner's table; the label carries it.
    applications, engagements
        Decode the two inputs.
    feature_schema
        What applications must bring; ``None`` adopts that of a partition's first application.
    name
        Names the stage in dead letters.
    """

    topics: TopicNames
    policy: LabelPolicy
    global_model: GlobalModel
    job_effect: RandomEffect
    applications: WireDecoder[wire.Application]
    engagements: WireDecoder[wire.Engagement]
    feature_schema: FeatureSchema | None = None
    name: str = "label"

    def process(
        self, partition: int, records: Sequence[SourceRecord], state: StateReader, jobs: StateReader
    ) -> Outcome:
        """Return what a chunk of one partition, in the order it was read, changes and sends.

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
        """
        events = self._decode(records)
        chunk = _Chunk(self, state)
        chunk.load(event for event in events if not isinstance(event, RejectedError))
        for record, event in zip(records, events, strict=True):
            try:
                if isinstance(event, RejectedError):
                    raise event
                chunk.take(record, event)
            except RejectedError as error:
                chunk.reject(record, error)
        chunk.save()
        labels = self._labels(partition, chunk.revisions, jobs)
        return Outcome(chunk.changes, [*chunk.dead_letters, *labels])

    def _decode(self, records: Sequence[SourceRecord]) -> list[wire.Application | wire.Engagement | RejectedError]:
        """Decode a chunk of both topics, in its order."""
        topic = self.topics.applications
        of_applications = [record.topic == topic for record in records]
        applications = iter(self.applications.decode(r.value for r in compress(records, of_applications)))
        engagements = iter(self.engagements.decode(r.value for r in compress(records, map(not_, of_applications))))
        return [next(applications if is_application else engagements) for is_application in of_applications]

    def _labels(self, partition: int, revisions: Sequence[Revision], jobs: StateReader) -> list[Message]:
        """Return the messages for ``revisions``, with the job's part of the score as it stands now."""
        if not revisions:
            return []
        stored = jobs.get_many([entity_key(revision.application.job_id) for revision in revisions])
        features = np.array(wire.vectors([revision.application.member_features for revision in revisions]), np.float64)
        scores, versions = self.job_effect.score(stored, features)
        return [
            self._label(partition, revision, score, version)
            for revision, score, version in zip(revisions, scores.tolist(), versions.tolist(), strict=True)
        ]

    def _label(self, partition: int, revision: Revision, job_log_odds: float, job_version: int) -> Message:
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
            self.global_model.log_odds(application.global_log_odds),
            job_log_odds,
            job_version,
            partition,
            revision.watermark,
        )
        return Message(self.topics.labels, application.member_id.encode(), wire.encode(label))


class _Chunk:
    """A chunk on its way through the stage: what it has read of the table, and what it has changed."""

    def __init__(self, stage: LabelStage, state: StateReader) -> None:
        self.stage = stage
        self.policy = stage.policy
        self.state = state
        self.changes: dict[bytes, bytes | None] = {}
        self.dead_letters: list[Message] = []
        self.revisions: list[Revision] = []
        applications, engagements, schema = state.get_many([APPLICATIONS_REACHED, ENGAGEMENTS_REACHED, _FEATURE_SCHEMA])
        self.applications_reached = unpack_moment(applications)
        self.engagements_reached = unpack_moment(engagements)
        self.now = watermark(self.applications_reached, self.engagements_reached)
        self.schema = stage.feature_schema or (None if schema is None else FeatureSchema.unpack(schema))
        self.life_cycles: dict[str, LifeCycle | None] = {}
        self.touched: set[str] = set()
        self.ages = ages(stage.policy)
        self.due: list[tuple[int, str, Due]] = []
        """A heap: when, of which application, what."""
        self.until = self.now
        """The event time that the chunk can reach at most."""

    def load(self, events: Iterable[wire.Application | wire.Engagement]) -> None:
        """Read at once all that the events will need: their applications, and those that may fall due."""
        applications, engagements = self.applications_reached, self.engagements_reached
        ids: dict[str, None] = {}
        for event in events:
            ids[event.application_id] = None
            if isinstance(event, wire.Application):
                applications = max(applications, event.applied_at)
            else:
                engagements = max(engagements, event.engaged_at)
        self.until = watermark(applications, engagements)
        for index, at_ages in self.ages.items():
            for due, age in at_ages:
                for key, _ in self.state.scan(*index_range(index, self.now - age, self.until - age)):
                    moment, application_id = index_entry(index, key)
                    self.due.append((moment + age, application_id, due))
                    # What is over is replaced and forgotten unread.
                    if due < Due.OVER:
                        ids[application_id] = None
        # Sorted, and so a heap.
        self.due.sort()
        stored = self.state.get_many([life_cycle_key(application_id) for application_id in ids])
        for application_id, record in zip(ids, stored, strict=True):
            self.life_cycles[application_id] = None if record is None else unpack(record)

    def take(self, record: SourceRecord, event: wire.Application | wire.Engagement) -> None:
        """Take in one event, then move event time on and do what falls due."""
        if isinstance(event, wire.Application):
            self._apply(event)
            self.applications_reached = max(self.applications_reached, event.applied_at)
        else:
            self._engage(record, event)
            self.engagements_reached = max(self.engagements_reached, event.engaged_at)
        self._advance(watermark(self.applications_reached, self.engagements_reached))

    def reject(self, record: SourceRecord, error: RejectedError) -> None:
        """Send a record to the dead letters."""
        self.dead_letters.append(dead_letter(self.stage.topics.dead_letters, self.stage.name, record, error))

    def save(self) -> None:
        """Turn what was touched into changes of the table."""
        for application_id in self.touched:
            life_cycle = self.life_cycles[application_id]
            self.changes[life_cycle_key(application_id)] = None if life_cycle is None else pack(life_cycle)
        self.changes[APPLICATIONS_REACHED] = pack_moment(self.applications_reached)
        self.changes[ENGAGEMENTS_REACHED] = pack_moment(self.engagements_reached)

    def _apply(self, event: wire.Application) -> None:
        application = KnownApplication.of(event)
        self._check_schema(application)
        known = self.life_cycles[application.application_id]
        if known is not None and known.over:
            return
        if application.applied_at + self.policy.retention <= self.now:
            raise LateApplicationError("it came after the last moment at which its label could be revised")
        life_cycle = known or LifeCycle()
        waited = [waiting.engagement.engaged_at for waiting in life_cycle.waiting]
        if life_cycle.apply(application, self.policy):
            self._send(life_cycle, life_cycle.open())
            if life_cycle.engagements or self.now >= life_cycle.closes_at(self.policy):
                self._send(life_cycle, life_cycle.step(self.now, self.policy))
            for engaged_at in waited:
                self.changes[index_key(WAITING, engaged_at, application.application_id)] = None
            self._remind(APPLIED, application.applied_at, application.application_id)
            self._keep(application.application_id, life_cycle)

    def _check_schema(self, application: KnownApplication) -> None:
        if self.schema is None:
            self.schema = FeatureSchema.of(application)
            self.changes[_FEATURE_SCHEMA] = self.schema.pack()
        elif not self.schema.fits(application):
            raise FeatureSchemaMismatchError(
                f"features are {FeatureSchema.of(application)}, and {self.schema} is learned"
            )

    def _engage(self, record: SourceRecord, engagement: wire.Engagement) -> None:
        life_cycle = self.life_cycles[engagement.application_id] or LifeCycle()
        if life_cycle.over:
            return
        if life_cycle.application is not None:
            if not life_cycle.engage(engagement, self.policy):
                return
            self._send(life_cycle, life_cycle.step(self.now, self.policy))
        else:
            if not life_cycle.wait(engagement, record, self.policy):
                return
            self._remind(WAITING, engagement.engaged_at, engagement.application_id)
        self._keep(engagement.application_id, life_cycle)

    def _keep(self, application_id: str, life_cycle: LifeCycle | None) -> None:
        self.life_cycles[application_id] = life_cycle
        self.touched.add(application_id)

    def _remind(self, index: bytes, moment: int, application_id: str) -> None:
        """Put an application into an index, and take note of what falls due in this chunk already."""
        self.changes[index_key(index, moment, application_id)] = b""
        for due, age in self.ages[index]:
            if moment + age > self.until:
                break
            heapq.heappush(self.due, (moment + age, application_id, due))

    def _advance(self, until: int) -> None:
        """Move event time on, stopping on the way at everything that falls due, in order."""
        while self.due and self.due[0][0] <= until:
            moment, application_id, due = heapq.heappop(self.due)
            self.now = max(self.now, moment)
            if due is Due.CLOSING:
                self._close(application_id)
            elif due is Due.GIVING_UP:
                self._give_up_waiting(application_id)
            elif due is Due.OVER:
                self._keep(application_id, LifeCycle(over=True))
            else:
                self.changes[
                    index_key(APPLIED, moment - self.policy.retention - self.policy.memory, application_id)
                ] = None
                self._keep(application_id, None)
        self.now = max(self.now, until)

    def _close(self, application_id: str) -> None:
        """Look at an application whose window ends."""
        life_cycle = self.life_cycles[application_id]
        # Time alone changes no final label: an engagement does, and then it was judged at once.
        if life_cycle is not None and life_cycle.verdict is not None and not life_cycle.verdict.final:
            self._send(life_cycle, life_cycle.step(self.now, self.policy))
            self._keep(application_id, life_cycle)

    def _give_up_waiting(self, application_id: str) -> None:
        """Reject the engagements that have waited too long for their application."""
        life_cycle = self.life_cycles[application_id]
        if life_cycle is None:
            return
        for waiting in life_cycle.give_up(self.now, self.policy):
            self.changes[index_key(WAITING, waiting.engagement.engaged_at, application_id)] = None
            self.reject(waiting, OrphanEngagementError("its application did not come in time"))
            self._keep(application_id, life_cycle if life_cycle.waiting else None)

    def _send(self, life_cycle: LifeCycle, verdict: Verdict | None) -> None:
        if verdict is not None and life_cycle.application is not None:
            self.revisions.append(Revision(life_cycle.application, life_cycle.revision, verdict, max(self.now, 0)))
