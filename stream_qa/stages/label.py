"""The label stage: applications and engagements of a job's partition in, revisions of labels out."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson

from stream_qa.errors import FeatureSchemaMismatchError, LateApplicationError, OrphanEngagementError, RejectedError
from stream_qa.events import Application, Decoder, Engagement, Message, SourceRecord, TopicNames, dead_letter
from stream_qa.labels import LabelPolicy, LifeCycle, Verdict
from stream_qa.labels.event_time import (
    APPLICATIONS_REACHED,
    ENGAGEMENTS_REACHED,
    deadline,
    deadline_key,
    deadline_range,
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


class Revision(NamedTuple):
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
    applications: Decoder[Application]
    engagements: Decoder[Engagement]
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

    def _decode(self, records: Sequence[SourceRecord]) -> list[Application | Engagement | RejectedError]:
        """Decode a chunk of both topics, in its order."""
        applications = iter(self.applications.decode(r.value for r in records if r.topic == self.topics.applications))
        engagements = iter(self.engagements.decode(r.value for r in records if r.topic != self.topics.applications))
        return [next(applications if r.topic == self.topics.applications else engagements) for r in records]

    def _labels(self, partition: int, revisions: Sequence[Revision], jobs: StateReader) -> list[Message]:
        """Return the messages for ``revisions``, with the job's part of the score as it stands now."""
        stored = jobs.get_many([entity_key(revision.application.job_id) for revision in revisions])
        features = [np.frombuffer(revision.application.member_features) for revision in revisions]
        scores, versions = self.job_effect.score(stored, features)
        return [
            self._label(partition, revision, score, version)
            for revision, score, version in zip(revisions, scores.tolist(), versions.tolist(), strict=True)
        ]

    def _label(self, partition: int, revision: Revision, job_log_odds: float, job_version: int) -> Message:
        application, verdict = revision.application, revision.verdict
        label = {
            "revision": revision.number,
            "value": verdict.value,
            "weight": verdict.weight,
            "final": verdict.final,
            "reason": verdict.reason,
            "happened_at": verdict.happened_at,
            "global_log_odds": self.global_model.log_odds(application.global_log_odds),
            "job_log_odds": job_log_odds,
            "job_version": job_version,
            "origin": partition,
            "watermark": revision.watermark,
        }
        # Two JSON objects become one: ids, application time and features go on as they were written down.
        value = b",".join((application.content[:-1], orjson.dumps(label)[1:]))
        return Message(self.topics.labels, application.member_id.encode(), value)


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
        self.deadlines: list[tuple[int, str]] = []
        self.until = self.now
        """The event time that the chunk can reach at most."""

    def load(self, events: Iterable[Application | Engagement]) -> None:
        """Read at once all that the events will need: their applications, and those that may fall due."""
        applications, engagements = self.applications_reached, self.engagements_reached
        ids: dict[str, None] = {}
        for event in events:
            ids[event.application_id] = None
            if isinstance(event, Application):
                applications = max(applications, event.applied_at)
            else:
                engagements = max(engagements, event.engaged_at)
        self.until = watermark(applications, engagements)
        start, end = deadline_range(self.now, self.until)
        # In order already, and so a heap.
        self.deadlines = [deadline(key) for key, _ in self.state.scan(start, end)]
        ids.update((application_id, None) for _, application_id in self.deadlines)
        stored = self.state.get_many([life_cycle_key(application_id) for application_id in ids])
        for application_id, record in zip(ids, stored, strict=True):
            self.life_cycles[application_id] = None if record is None else unpack(record)

    def take(self, record: SourceRecord, event: Application | Engagement) -> None:
        """Take in one event, then move event time on and do what falls due."""
        if isinstance(event, Application):
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

    def _apply(self, application: Application) -> None:
        self._check_schema(application)
        known = self.life_cycles[application.application_id]
        if known is not None and known.over:
            return
        if application.applied_at + self.policy.retention <= self.now:
            raise LateApplicationError("it came after the last moment at which its label could be revised")
        life_cycle = self._life_cycle(application.application_id)
        if life_cycle.apply(application, self.policy):
            self._send(life_cycle, life_cycle.open())
            closes_at = life_cycle.closes_at(self.policy)
            if life_cycle.engagements or self.now >= closes_at:
                self._send(life_cycle, life_cycle.step(self.now, self.policy))
            self._remind(closes_at, application.application_id)
            self.touched.add(application.application_id)

    def _check_schema(self, application: Application) -> None:
        if self.schema is None:
            self.schema = FeatureSchema.of(application)
            self.changes[_FEATURE_SCHEMA] = self.schema.pack()
        elif not self.schema.fits(application):
            raise FeatureSchemaMismatchError(
                f"features are {FeatureSchema.of(application)}, and {self.schema} is learned"
            )

    def _engage(self, record: SourceRecord, engagement: Engagement) -> None:
        life_cycle = self._life_cycle(engagement.application_id)
        if life_cycle.over:
            return
        if life_cycle.application is not None:
            if not life_cycle.engage(engagement, self.policy):
                return
            self._send(life_cycle, life_cycle.step(self.now, self.policy))
        else:
            if not life_cycle.wait(engagement, record, self.policy):
                return
            self._remind(engagement.engaged_at + self.policy.orphan_wait, engagement.application_id)
        self.touched.add(engagement.application_id)

    def _advance(self, until: int) -> None:
        """Move event time on, stopping at every deadline on the way, in order."""
        while self.deadlines and self.deadlines[0][0] <= until:
            due, application_id = heapq.heappop(self.deadlines)
            self.now = max(self.now, due)
            self._due(due, application_id)
        self.now = max(self.now, until)

    def _due(self, due: int, application_id: str) -> None:
        self.changes[deadline_key(due, application_id)] = None
        life_cycle = self.life_cycles[application_id]
        if life_cycle is None:
            return
        if life_cycle.forget_at is not None:
            if self.now >= life_cycle.forget_at:
                self._forget(application_id)
        elif life_cycle.application is None:
            self._give_up_waiting(application_id, life_cycle)
        elif self.now >= (over_at := life_cycle.application.applied_at + self.policy.retention):
            forget_at = over_at + self.policy.memory
            self.life_cycles[application_id] = LifeCycle(forget_at=forget_at)
            self.touched.add(application_id)
            self._remind(forget_at, application_id)
        else:
            # Time alone changes no final label: an engagement does, and then it was judged at once.
            final = life_cycle.verdict is not None and life_cycle.verdict.final
            verdict = None if final else life_cycle.step(self.now, self.policy)
            if verdict is not None:
                self._send(life_cycle, verdict)
                self.touched.add(application_id)
            # Where the window is longer now than when it was reminded of, it closes later.
            closes_at = life_cycle.closes_at(self.policy)
            self._remind(over_at if self.now >= closes_at else closes_at, application_id)

    def _give_up_waiting(self, application_id: str, life_cycle: LifeCycle) -> None:
        """Reject the engagements that have waited too long for their application."""
        for waiting in life_cycle.give_up(self.now, self.policy):
            self.reject(waiting.record, OrphanEngagementError("its application did not come in time"))
        self.touched.add(application_id)
        if not life_cycle.waiting:
            self._forget(application_id)

    def _forget(self, application_id: str) -> None:
        self.life_cycles[application_id] = None
        self.touched.add(application_id)

    def _life_cycle(self, application_id: str) -> LifeCycle:
        life_cycle = self.life_cycles[application_id]
        if life_cycle is None:
            life_cycle = self.life_cycles[application_id] = LifeCycle()
        return life_cycle

    def _remind(self, due: int, application_id: str) -> None:
        self.changes[deadline_key(due, application_id)] = b""
        if due <= self.until:
            heapq.heappush(self.deadlines, (due, application_id))

    def _send(self, life_cycle: LifeCycle, verdict: Verdict | None) -> None:
        if verdict is not None and life_cycle.application is not None:
            self.revisions.append(Revision(life_cycle.application, life_cycle.revision, verdict, max(self.now, 0)))
