"""A chunk on its way through the label stage: what it has read of the table, and what it changes there."""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec import Struct

from stream_qa.errors import (
    FeatureSchemaMismatchError,
    LateApplicationError,
    MismatchedJobError,
    OrphanEngagementError,
    RejectedError,
    StateError,
    StateFormatError,
)
from stream_qa.events import SourceRecord, Value, wire
from stream_qa.labels import LabelPolicy, LifeCycle, Verdict
from stream_qa.labels.event_time import (
    APPLIED,
    CLOCK,
    DURATIONS,
    NOT_BEGUN,
    WAITING,
    Clock,
    Due,
    ages,
    check_durations,
    index_key,
    life_cycle_key,
    pack_durations,
)
from stream_qa.labels.life_cycle import KnownApplication, KnownEngagement
from stream_qa.labels.record import pack, unpack
from stream_qa.labels.silence import SilenceSays
from stream_qa.learning.features import FeatureSchema
from stream_qa.stages.label_due import LabelDue
from stream_qa.stages.label_silence import LabelSilence, Sent
from stream_qa.stages.models import FEATURE_SCHEMA
from stream_qa.stages.state import StateReader
from stream_qa.stages.upkeep import UpkeepError, upkeep, with_upkeep

Event = wire.Application | wire.Engagement | wire.Tick
"""What the label stage reads."""

WHAT_IS_DUE = "what has fallen due"
"""In errors: work that no record brings along, unless it is of the record's own application."""

_OTHER_JOB = "it is about another job than its application"
_TOO_LATE = "engagement after the window"
_TOO_EARLY = "engagement long before its application"
_FOREIGN_TICK = "tick of another partition"


class Revision(Struct, frozen=True, gc=False):
    """A label to be sent."""

    application: KnownApplication
    number: int
    verdict: Verdict
    watermark: int


class Closed(NamedTuple):
    """What is known of an application when its window closes."""

    value: Value
    answered_after: int | None
    """Milliseconds from the application to the first answer; ``None`` where there is none."""


class LabelChunk:
    """Takes in the events of one chunk.

    Parameters
    ----------
    policy
        What counts as hearing back.
    schema
        What applications must bring; ``None`` adopts that of a partition's first application.
    silence
        What silence says; ``None`` for nothing.
    state
        The label table of the partition.
    most_due
        Applications that may fall due, and as many that silence may say something of, about.
    partition
        Of which the chunk is.

    Raises
    ------
    PolicyChangedError
        The state was made with other durations.
    StateFormatError
        The state was made with other features than ``schema``.
    """

    def __init__(
        self,
        policy: LabelPolicy,
        schema: FeatureSchema | None,
        silence: SilenceSays | None,
        state: StateReader,
        most_due: int,
        *,
        partition: int,
    ) -> None:
        self.changes: dict[bytes, bytes | None] = {}
        """Of the table; whole after :meth:`process`."""
        self.rejected: list[tuple[SourceRecord, RejectedError]] = []
        self.revisions: list[Revision] = []
        self.closed: list[Closed] = []
        """The applications whose window closes."""
        self.lessons = 0
        """How many of the revisions say another value or weight than the one before."""
        self.counted: Counter[str] = Counter()
        """Engagements that were taken and say nothing, by why."""
        self._partition = partition
        self._policy = policy
        self._state = state
        clock, adopted, durations = state.get_many([CLOCK, FEATURE_SCHEMA, DURATIONS])
        if durations is not None:
            check_durations(durations, policy)
        self._has_durations = durations is not None
        self._clock, self._stored_clock = Clock.unpack(clock), clock
        self._now = self._clock.done
        self._is_done = True
        """Whether nothing is left that has fallen due."""
        self._all_near = False
        """Whether no event of the chunk is so far ahead that it could be doubted."""
        self._schema = schema if adopted is None else FeatureSchema.unpack(adopted)
        self._has_schema = adopted is not None
        if schema is not None and self._schema != schema:
            raise StateFormatError(f"the table's applications have features {self._schema}, the model bundle {schema}")
        self._sources: list[wire.Application | wire.Engagement] = []
        """The events that are not ticks."""
        self._life_cycles: dict[str, LifeCycle | None] = {}
        self._touched: set[str] = set()
        silent = () if silence is None else silence.ages
        self._due = LabelDue(ages(policy, silent), state, self.changes, most_due)
        self._silence = None if silence is None else LabelSilence(silence, state, self.changes, most_due)

    @property
    def unfinished(self) -> bool:
        """Whether more is to be done than was."""
        return not self._due.is_all or (self._silence is not None and self._silence.unfinished)

    @property
    def due_revisions(self) -> list[Revision]:
        """Those of the revisions that are of no application which the chunk's events are about."""
        own = self._own()
        return [revision for revision in self.revisions if revision.application.application_id not in own]

    @property
    def is_behind(self) -> bool:
        """Whether something is left that has fallen due before the chunk: then that is done, and no event is taken."""
        left = self._silence is not None and self._silence.was_unfinished
        return left or self._now < self._clock.watermark(self._policy.lateness)

    def process(self, records: Sequence[SourceRecord], events: Sequence[Event | RejectedError]) -> int:
        """Take in the records of the chunk and the event in each, in order, and do what falls due.

        Returns how many were taken: what an event brings about is done before the next one, however much it is.
        """
        self._load([event for event in events if not isinstance(event, RejectedError)])
        self._catch_up()
        taken = 0
        for record, event in zip(records, events, strict=True):
            if not self._is_done:
                break
            taken += 1
            try:
                if isinstance(event, RejectedError):
                    raise event
                self._take(record, event)
            except RejectedError as error:
                self._reject(record, error)
        self._save()
        return taken

    def _load(self, events: Sequence[Event]) -> None:
        """Read at once all that the events will need: their applications, and those that may fall due."""
        bound = self._bound(events).watermark(self._policy.lateness)
        with upkeep(WHAT_IS_DUE):
            applications, jobs = self._due.load(self._now, bound)
        self._sources = [event for event in events if not isinstance(event, wire.Tick)]
        with with_upkeep(WHAT_IS_DUE, lambda: self._load_known(applications, jobs)):
            self._load_known(
                [*(event.application_id for event in self._sources), *applications],
                [*(event.job_id for event in self._sources), *jobs],
            )
        if self._silence is not None:
            for answered_at, sent in self._silence.left_before(self._now - self._policy.window):
                self._look_at_all(sent, answered_at)

    def _own(self) -> set[str]:
        """Return the applications that the chunk's events are about."""
        return {event.application_id for event in self._sources}

    def _load_known(self, applications: Sequence[str], jobs: Sequence[str]) -> None:
        """Read what the table has of applications and jobs."""
        self._load_life_cycles(dict.fromkeys(applications))
        if self._silence is not None:
            self._silence.load(jobs)

    def _take(self, record: SourceRecord, event: Event) -> None:
        """Take in one event, then move event time on and do what falls due."""
        if isinstance(event, wire.Tick) and event.partition != self._partition:
            self.counted[_FOREIGN_TICK] += 1
            return
        self._check(self._clock, event)
        if isinstance(event, wire.Application):
            self._apply(event)
        elif isinstance(event, wire.Engagement):
            self._engage(record, event)
        _move(self._clock, event)
        self._catch_up()

    def _catch_up(self) -> None:
        """Do what has fallen due, as far as the chunk may."""
        watermark = self._clock.watermark(self._policy.lateness)
        # What an answer says of others comes before what falls due after it.
        has_room = self._silence is None or self._silence.has_room
        if has_room:
            self._advance(watermark)
        self._is_done = has_room and self._now >= watermark

    def _reject(self, record: SourceRecord, error: RejectedError) -> None:
        """Take note of a record that cannot be used."""
        self.rejected.append((record, error))

    def _save(self) -> None:
        """Turn what was touched into changes of the table."""
        for application_id in self._touched:
            life_cycle = self._life_cycles[application_id]
            self.changes[life_cycle_key(application_id)] = None if life_cycle is None else pack(life_cycle)
        if self._silence is not None:
            self._silence.save()
        self._clock.done = self._now
        if (clock := self._clock.pack()) != self._stored_clock:
            self.changes[CLOCK] = clock
            if not self._has_durations:
                self.changes[DURATIONS] = pack_durations(self._policy)

    def _check(self, clock: Clock, event: Event) -> None:
        """Doubt what is too far ahead of its input; ticks are our own."""
        if self._all_near:
            return
        if isinstance(event, wire.Application):
            clock.applications.check(event.applied_at, event.application_id, self._policy.jump)
        elif isinstance(event, wire.Engagement):
            clock.engagements.check(event.engaged_at, event.application_id, self._policy.jump)

    def _bound(self, events: Sequence[Event]) -> Clock:
        """Return how far the inputs will have come with these events."""
        bound, jump = Clock.unpack(self._clock.pack()), self._policy.jump
        applied = max((event.applied_at for event in events if isinstance(event, wire.Application)), default=NOT_BEGUN)
        engaged = max((event.engaged_at for event in events if isinstance(event, wire.Engagement)), default=NOT_BEGUN)
        # The usual case: no event is far ahead of what its input had reached before the chunk.
        self._all_near = bound.applications.is_near(applied, jump) and bound.engagements.is_near(engaged, jump)
        if self._all_near:
            bound.applications.come_to(applied)
            bound.engagements.come_to(engaged)
            events = [event for event in events if isinstance(event, wire.Tick)]
        for event in events:
            with suppress(RejectedError):
                self._check(bound, event)
                _move(bound, event)
        return bound

    def _load_life_cycles(self, ids: Collection[str]) -> None:
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
                self._reject(waited, MismatchedJobError(_OTHER_JOB))
            else:
                self._count(waited.engagement, application)
        self._send(life_cycle, life_cycle.open())
        self._keep(application.application_id, life_cycle)
        self._due.remind(APPLIED, application.applied_at, application.application_id, application.job_id)
        if self._silence is not None:
            self._silence.expect_answer(application)
        if life_cycle.engagements or self._now >= life_cycle.closes_at(self._policy):
            self._step(life_cycle)
        self._look_at(life_cycle, max(self._now, application.applied_at))
        self._hear(life_cycle)

    def _check_schema(self, application: KnownApplication) -> None:
        if self._schema is None:
            self._schema = FeatureSchema.of(application)
        if not self._schema.fits(application):
            raise FeatureSchemaMismatchError(
                f"features are {FeatureSchema.of(application)}, and {self._schema} is learned"
            )
        if not self._has_schema:
            self.changes[FEATURE_SCHEMA] = self._schema.pack()
            self._has_schema = True

    def _engage(self, record: SourceRecord, event: wire.Engagement) -> None:
        if not self._policy.knows(event.kind):
            self.counted[f"kind that no policy names: {event.kind}"] += 1
        life_cycle = self._life_cycles[event.application_id] or LifeCycle()
        if life_cycle.over:
            self.counted[_TOO_LATE] += 1
            return
        engagement = KnownEngagement.of(event)
        application = life_cycle.application
        if application is None:
            if life_cycle.wait(engagement, record, self._policy):
                self._due.remind(WAITING, engagement.engaged_at, event.application_id)
                self._keep(event.application_id, life_cycle)
            return
        if engagement.job_id != application.job_id:
            raise MismatchedJobError(_OTHER_JOB)
        may_answer = self._silence is not None and self._deciding(life_cycle) is None
        if life_cycle.engage(engagement, self._policy):
            self._count(engagement, application)
            self._step(life_cycle)
            self._keep(event.application_id, life_cycle)
            if may_answer:
                self._hear(life_cycle)

    def _count(self, engagement: KnownEngagement, application: KnownApplication) -> None:
        """Count an engagement that was taken and is out of time, so that it decides nothing."""
        if engagement.engaged_at >= application.applied_at + self._policy.window:
            self.counted[_TOO_LATE] += 1
        elif engagement.engaged_at <= application.applied_at - self._policy.orphan_wait:
            self.counted[_TOO_EARLY] += 1

    def _deciding(self, life_cycle: LifeCycle) -> KnownEngagement | None:
        application = life_cycle.application
        return None if application is None else self._policy.deciding(life_cycle.engagements, application.applied_at)

    def _hear(self, life_cycle: LifeCycle) -> None:
        """Let the first answer to an application say something about others that were sent to the same job."""
        if self._silence is None or life_cycle.application is None:
            return
        if (answer := self._deciding(life_cycle)) is not None:
            # One from before its application is not heard sooner: others may have been answered in the meantime.
            answered_at = max(answer.engaged_at, life_cycle.application.applied_at)
            closed = self._now - self._policy.window
            others = self._silence.answered(life_cycle.application, answered_at, closed)
            self._look_at_all(others, answered_at)

    def _look_at_all(self, sent: list[Sent], moment: int) -> None:
        if unknown := [application_id for _, application_id in sent if application_id not in self._life_cycles]:
            self._load_life_cycles(unknown)
        for _, application_id in sent:
            self._look_at(self._life_cycles[application_id], moment)

    def _look_at(self, life_cycle: LifeCycle | None, moment: int) -> None:
        """Let silence say something new about an application, if it is not answered."""
        if life_cycle is None or self._silence is None or not life_cycle.awaits_answer(self._policy):
            return
        application = life_cycle.application
        if application is not None and (said := self._silence.says(application, moment, life_cycle.silence)):
            life_cycle.silence = said
            self._step(life_cycle)
            self._keep(application.application_id, life_cycle)

    def _keep(self, application_id: str, life_cycle: LifeCycle | None) -> None:
        self._life_cycles[application_id] = life_cycle
        self._touched.add(application_id)

    def _advance(self, until: int) -> None:
        """Move event time on, stopping on the way at everything that falls due, in order."""
        until = max(self._now, min(until, self._due.until))
        item = None
        try:
            while (item := self._due.take(until)) is not None:
                moment, application_id, due, job_id = item
                self._now = max(self._now, moment)
                match due:
                    case Due.GIVING_UP:
                        self._give_up_waiting(application_id)
                    case Due.STAYING_SILENT:
                        self._look_at(self._life_cycles[application_id], moment)
                    case Due.CLOSING:
                        self._close(application_id)
                    case Due.OVER:
                        self._end(moment - self._policy.retention, application_id, job_id)
                    case Due.FORGETTING:
                        applied_at = moment - self._policy.retention - self._policy.memory
                        self.changes[index_key(APPLIED, applied_at, application_id)] = None
                        self._keep(application_id, None)
        except StateError:
            raise
        except Exception as error:
            # One that comes so late that it brings this along itself: without it nothing is due.
            if item is not None and item.application_id in self._own():
                raise
            raise UpkeepError(WHAT_IS_DUE) from error
        self._now = max(self._now, until)

    def _close(self, application_id: str) -> None:
        """Look at an application whose window ends."""
        life_cycle = self._life_cycles[application_id]
        if life_cycle is None or life_cycle.verdict is None:
            return
        # Time alone changes no final label: an engagement does, and then it was judged at once.
        if not life_cycle.verdict.final:
            self._step(life_cycle)
            self._keep(application_id, life_cycle)
        if (value := life_cycle.verdict.value) is not None:
            self.closed.append(Closed(value, life_cycle.answered_after(self._policy)))

    def _give_up_waiting(self, application_id: str) -> None:
        """Reject the engagements that have waited too long for their application."""
        life_cycle = self._life_cycles[application_id]
        if life_cycle is None:
            return
        for waiting in life_cycle.give_up(self._now, self._policy):
            self.changes[index_key(WAITING, waiting.engagement.engaged_at, application_id)] = None
            self._reject(waiting, OrphanEngagementError("its application did not come in time"))
            self._keep(application_id, life_cycle if life_cycle.waiting else None)

    def _end(self, applied_at: int, application_id: str, job_id: str) -> None:
        """Keep no more of an application than that its id was used."""
        self._keep(application_id, LifeCycle(over=True))
        if self._silence is not None:
            self._silence.end(job_id, applied_at, application_id, self._now - self._policy.window)

    def _step(self, life_cycle: LifeCycle) -> None:
        before, verdict = life_cycle.verdict, life_cycle.step(self._now, self._policy)
        if before is not None and verdict is not None:
            self.lessons += (before.value, before.weight) != (verdict.value, verdict.weight)
        self._send(life_cycle, verdict)

    def _send(self, life_cycle: LifeCycle, verdict: Verdict | None) -> None:
        if verdict is not None and life_cycle.application is not None:
            self.revisions.append(Revision(life_cycle.application, life_cycle.revision, verdict, max(self._now, 0)))


def _move(clock: Clock, event: Event) -> None:
    """Move the input of an event, or those that a tick is about, on to its time."""
    if isinstance(event, wire.Application):
        clock.applications.move(event.applied_at, event.application_id)
    elif isinstance(event, wire.Engagement):
        clock.engagements.move(event.engaged_at, event.application_id)
    else:
        if event.applications:
            clock.applications.come_to(event.reached_at)
        if event.engagements:
            clock.engagements.come_to(event.reached_at)
