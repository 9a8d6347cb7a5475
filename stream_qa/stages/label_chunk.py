"""A chunk on its way through the label stage: what it has read of the table, and what it changes there."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress

from msgspec import Struct

from stream_qa.errors import (
    FeatureSchemaMismatchError,
    LateApplicationError,
    MismatchedJobError,
    OrphanEngagementError,
    RejectedError,
)
from stream_qa.events import SourceRecord, wire
from stream_qa.labels import LabelPolicy, LifeCycle, Verdict
from stream_qa.labels.event_time import (
    APPLIED,
    CLOCK,
    WAITING,
    Clock,
    Due,
    activity_key,
    ages,
    index_entry,
    index_key,
    index_range,
    life_cycle_key,
    sent_to_entry,
    sent_to_key,
    sent_to_range,
)
from stream_qa.labels.life_cycle import KnownApplication, KnownEngagement, SilentNegative
from stream_qa.labels.policy import SilenceRule
from stream_qa.labels.record import pack, unpack
from stream_qa.labels.silence import Activity
from stream_qa.learning.features import FeatureSchema
from stream_qa.stages.state import StateReader

Event = wire.Application | wire.Engagement | wire.Tick
"""What the label stage reads."""

_FEATURE_SCHEMA = b"feature-schema"
_OTHER_JOB = "it is about another job than its application"


class Revision(Struct, frozen=True, gc=False):
    """A label to be sent."""

    application: KnownApplication
    number: int
    verdict: Verdict
    watermark: int


class LabelChunk:
    """Takes events one by one.

    Parameters
    ----------
    policy
        What counts as hearing back.
    schema
        What applications must bring; ``None`` adopts that of a partition's first application.
    state
        The label table of the partition.
    most_due
        Applications that may fall due, about.
    """

    def __init__(self, policy: LabelPolicy, schema: FeatureSchema | None, state: StateReader, most_due: int) -> None:
        self.changes: dict[bytes, bytes | None] = {}
        """Of the table; whole after :meth:`save`."""
        self.rejected: list[tuple[SourceRecord, RejectedError]] = []
        self.revisions: list[Revision] = []
        self.unfinished = False
        """Whether more has fallen due than was done."""
        self._policy = policy
        self._state = state
        clock, adopted = state.get_many([CLOCK, _FEATURE_SCHEMA])
        self._clock, self._stored_clock = Clock.unpack(clock), clock
        self._now = self._clock.done
        self._most_due = most_due
        self._schema = schema or (None if adopted is None else FeatureSchema.unpack(adopted))
        self._life_cycles: dict[str, LifeCycle | None] = {}
        self._touched: set[str] = set()
        self._ages = ages(policy)
        self._due: list[tuple[int, str, Due, str]] = []
        """A heap: when, of which application, what, and to which job it was sent where that is asked."""
        self._until = self._now
        """The event time that the chunk can reach at most."""
        self._respects_silence = policy.silence.rule is SilenceRule.LATER_RESPONSE
        self._activities: dict[str, Activity] = {}
        self._active: set[str] = set()
        self._sent: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        """The chunk's own applications by job, which the table does not have yet."""

    def load(self, events: Iterable[Event]) -> None:
        """Read at once all that the events will need: their applications, and those that may fall due."""
        bound = Clock.unpack(self._clock.pack())
        ids: dict[str, None] = {}
        jobs: dict[str, None] = {}
        for event in events:
            if not isinstance(event, wire.Tick):
                ids[event.application_id] = None
                jobs[event.job_id] = None
            with suppress(RejectedError):
                self._check(bound, event)
                _move(bound, event)
        self._until = bound.watermark(self._policy.lateness)
        for item in heapq.merge(*(self._scan(index, *at) for index, ats in self._ages.items() for at in ats)):
            if len(self._due) >= self._most_due and item[0] > self._due[-1][0]:
                self._until = self._due[-1][0]
                self.unfinished = True
                break
            # In order, and so a heap.
            self._due.append(item)
            _, application_id, due, job_id = item
            if due is Due.OVER:
                jobs[job_id] = None
            elif due is not Due.FORGETTING:
                ids[application_id] = None
        self._load_life_cycles(list(ids))
        if self._respects_silence:
            stored = self._state.get_many([activity_key(job_id) for job_id in jobs])
            self._activities = {job_id: Activity.unpack(record) for job_id, record in zip(jobs, stored, strict=True)}

    def take(self, record: SourceRecord, event: Event) -> None:
        """Take in one event, then move event time on and do what falls due."""
        self._check(self._clock, event)
        if isinstance(event, wire.Application):
            self._apply(event)
        elif isinstance(event, wire.Engagement):
            self._engage(record, event)
        _move(self._clock, event)
        self._advance(self._clock.watermark(self._policy.lateness))

    def finish(self) -> None:
        """Do what has fallen due before the chunk, where no event moves time on."""
        self._advance(self._clock.watermark(self._policy.lateness))

    def reject(self, record: SourceRecord, error: RejectedError) -> None:
        """Take note of a record that cannot be used."""
        self.rejected.append((record, error))

    def save(self) -> None:
        """Turn what was touched into changes of the table."""
        for application_id in self._touched:
            life_cycle = self._life_cycles[application_id]
            self.changes[life_cycle_key(application_id)] = None if life_cycle is None else pack(life_cycle)
        for job_id in self._active:
            activity = self._activities[job_id]
            self.changes[activity_key(job_id)] = None if activity == Activity() else activity.pack()
        self._clock.done = self._now
        if (clock := self._clock.pack()) != self._stored_clock:
            self.changes[CLOCK] = clock

    def _check(self, clock: Clock, event: Event) -> None:
        """Doubt what is too far ahead of its input; ticks are our own."""
        if isinstance(event, wire.Application):
            clock.applications.check(event.applied_at, event.application_id, self._policy.jump)
        elif isinstance(event, wire.Engagement):
            clock.engagements.check(event.engaged_at, event.application_id, self._policy.jump)

    def _scan(self, index: bytes, due: Due, age: int) -> Iterator[tuple[int, str, Due, str]]:
        """Yield what falls due at one age, in order."""
        for key, job in self._state.scan(*index_range(index, self._now - age, self._until - age)):
            moment, application_id = index_entry(index, key)
            yield moment + age, application_id, due, job.decode()

    def _load_life_cycles(self, ids: list[str]) -> None:
        stored = self._state.get_many([life_cycle_key(application_id) for application_id in ids])
        for application_id, record in zip(ids, stored, strict=True):
            self._life_cycles[application_id] = None if record is None else unpack(record)

    def _apply(self, event: wire.Application) -> None:
        application = KnownApplication.of(event)
        self._check_schema(application)
        known = self._life_cycles[application.application_id]
        if known is not None and known.over:
            return
        if application.applied_at + self._policy.retention <= self._now:
            raise LateApplicationError("it came after the last moment at which its label could be revised")
        life_cycle = known or LifeCycle()
        waiting = life_cycle.waiting
        if not life_cycle.apply(application, self._policy):
            return
        for waited in waiting:
            self.changes[index_key(WAITING, waited.engagement.engaged_at, application.application_id)] = None
            if waited.engagement.job_id != application.job_id:
                self.reject(waited, MismatchedJobError(_OTHER_JOB))
        self._send(life_cycle, life_cycle.open())
        self._keep(application.application_id, life_cycle)
        self._remind(APPLIED, application.applied_at, application.application_id, application.job_id)
        if self._respects_silence:
            self._expect_answer(life_cycle, application)
        if life_cycle.engagements or life_cycle.silence or self._now >= life_cycle.closes_at(self._policy):
            self._send(life_cycle, life_cycle.step(self._now, self._policy))
        for engagement in life_cycle.engagements:
            self._answered(application, engagement)

    def _check_schema(self, application: KnownApplication) -> None:
        if self._schema is None:
            self._schema = FeatureSchema.of(application)
            self.changes[_FEATURE_SCHEMA] = self._schema.pack()
        elif not self._schema.fits(application):
            raise FeatureSchemaMismatchError(
                f"features are {FeatureSchema.of(application)}, and {self._schema} is learned"
            )

    def _engage(self, record: SourceRecord, event: wire.Engagement) -> None:
        life_cycle = self._life_cycles[event.application_id] or LifeCycle()
        if life_cycle.over:
            return
        engagement = KnownEngagement.of(event)
        application = life_cycle.application
        if application is None:
            if life_cycle.wait(engagement, record, self._policy):
                self._remind(WAITING, engagement.engaged_at, event.application_id)
                self._keep(event.application_id, life_cycle)
            return
        if engagement.job_id != application.job_id:
            raise MismatchedJobError(_OTHER_JOB)
        if life_cycle.engage(engagement, self._policy):
            self._send(life_cycle, life_cycle.step(self._now, self._policy))
            self._keep(event.application_id, life_cycle)
            self._answered(application, engagement)

    def _expect_answer(self, life_cycle: LifeCycle, application: KnownApplication) -> None:
        """Put an application where an answer to a later one will find it, unless there was one."""
        job_id, sent = application.job_id, (application.applied_at, application.application_id)
        self.changes[sent_to_key(job_id, *sent)] = b""
        self._sent[job_id].append(sent)
        activity = self._activities[job_id]
        if application.applied_at < activity.answered:
            life_cycle.stay_silent(self._silent_negative(activity))

    def _answered(self, application: KnownApplication, engagement: KnownEngagement) -> None:
        """Let an answer say something about those that were sent before to the same job and have none."""
        if not self._respects_silence or self._policy.deciding([engagement], application.applied_at) is None:
            return
        job_id, activity = application.job_id, self._activities[application.job_id]
        since, before = activity.answered, application.applied_at
        if before <= since:
            return
        activity.answered, activity.answered_at = before, engagement.engaged_at
        self._active.add(job_id)
        earlier = [sent_to_entry(job_id, key) for key, _ in self._state.scan(*sent_to_range(job_id, since, before))]
        earlier += [sent for sent in self._sent[job_id] if since <= sent[0] < before]
        self._load_life_cycles([known for _, known in earlier if known not in self._life_cycles])
        for _, application_id in sorted(earlier):
            life_cycle = self._life_cycles[application_id]
            if life_cycle is not None and life_cycle.verdict is not None and life_cycle.verdict.value is None:
                life_cycle.stay_silent(self._silent_negative(activity))
                self._send(life_cycle, life_cycle.step(self._now, self._policy))
                self._keep(application_id, life_cycle)

    def _silent_negative(self, activity: Activity) -> SilentNegative:
        return SilentNegative(self._policy.silence.rule, self._policy.silence.weight, activity.answered_at)

    def _keep(self, application_id: str, life_cycle: LifeCycle | None) -> None:
        self._life_cycles[application_id] = life_cycle
        self._touched.add(application_id)

    def _remind(self, index: bytes, moment: int, application_id: str, job_id: str = "") -> None:
        """Put an application into an index, and take note of what falls due in this chunk already."""
        self.changes[index_key(index, moment, application_id)] = job_id.encode()
        for due, age in self._ages[index]:
            if moment + age > self._until:
                break
            heapq.heappush(self._due, (moment + age, application_id, due, job_id))

    def _advance(self, until: int) -> None:
        """Move event time on, stopping on the way at everything that falls due, in order."""
        until = min(until, self._until)
        while self._due and self._due[0][0] <= until:
            moment, application_id, due, job_id = heapq.heappop(self._due)
            self._now = max(self._now, moment)
            if due is Due.CLOSING:
                self._close(application_id)
            elif due is Due.GIVING_UP:
                self._give_up_waiting(application_id)
            elif due is Due.OVER:
                self._end(moment - self._policy.retention, application_id, job_id)
            else:
                applied_at = moment - self._policy.retention - self._policy.memory
                self.changes[index_key(APPLIED, applied_at, application_id)] = None
                self._keep(application_id, None)
        self._now = max(self._now, until)

    def _close(self, application_id: str) -> None:
        """Look at an application whose window ends."""
        life_cycle = self._life_cycles[application_id]
        # Time alone changes no final label: an engagement does, and then it was judged at once.
        if life_cycle is not None and life_cycle.verdict is not None and not life_cycle.verdict.final:
            self._send(life_cycle, life_cycle.step(self._now, self._policy))
            self._keep(application_id, life_cycle)

    def _give_up_waiting(self, application_id: str) -> None:
        """Reject the engagements that have waited too long for their application."""
        life_cycle = self._life_cycles[application_id]
        if life_cycle is None:
            return
        for waiting in life_cycle.give_up(self._now, self._policy):
            self.changes[index_key(WAITING, waiting.engagement.engaged_at, application_id)] = None
            self.reject(waiting, OrphanEngagementError("its application did not come in time"))
            self._keep(application_id, life_cycle if life_cycle.waiting else None)

    def _end(self, applied_at: int, application_id: str, job_id: str) -> None:
        """Keep no more of an application than that its id was used."""
        self._keep(application_id, LifeCycle(over=True))
        if self._respects_silence:
            self.changes[sent_to_key(job_id, applied_at, application_id)] = None
            # With the application that was answered last, all that were sent before it are over.
            if self._activities[job_id].answered <= applied_at:
                self._activities[job_id] = Activity()
                self._active.add(job_id)

    def _send(self, life_cycle: LifeCycle, verdict: Verdict | None) -> None:
        if verdict is not None and life_cycle.application is not None:
            self.revisions.append(Revision(life_cycle.application, life_cycle.revision, verdict, max(self._now, 0)))


def _move(clock: Clock, event: Event) -> None:
    """Move the input of an event, or those that a tick is about, on to its time."""
    if isinstance(event, wire.Application):
        clock.applications.move(event.applied_at)
    elif isinstance(event, wire.Engagement):
        clock.engagements.move(event.engaged_at)
    else:
        if event.applications:
            clock.applications.move(event.reached_at)
        if event.engagements:
            clock.engagements.move(event.reached_at)
