"""The life of one application: what is known of it, and what its label is at a moment of event time.

::

    engagement first ──► waiting ──────────────┐ (too long: dead letter)
                                               ▼
    application ──────────────────────────► open ──► positive (final) ◄──────┐ late engagement
                                              │ ├──► negative ──► (final) ───┤
                                              │ └─── window closed ──► negative (final)
                                              ▼
                                          over, when nothing can change it any more; in the end forgotten
"""

from typing import Self

from msgspec import Struct, field, structs

from stream_qa.errors import ConflictingDuplicateError, OrphanEngagementError
from stream_qa.events import SourceRecord, Value, wire
from stream_qa.events.record import bytes_of
from stream_qa.labels.policy import LabelPolicy

#: Engagements remembered of one application. Beyond it only those that could decide replace others.
MAX_ENGAGEMENTS = 64
#: Of the records put aside for one application: they must fit, with room to spare, into one message of a changelog.
MAX_WAITING_BYTES = 256_000


class KnownApplication(Struct, frozen=True, gc=False, array_like=True):
    """An application as it is kept; its features are JSON text, which labels carry on unread."""

    application_id: str
    member_id: str
    job_id: str
    applied_at: int
    feature_schema: str
    member_features: bytes
    job_features: bytes
    global_log_odds: float | None

    @classmethod
    def of(cls, application: wire.Application) -> Self:
        """Return what is kept of ``application``."""
        return cls(
            application.application_id,
            application.member_id,
            application.job_id,
            application.applied_at,
            application.feature_schema,
            bytes(application.member_features),
            bytes(application.job_features),
            application.global_log_odds,
        )

    def says_the_same_as(self, other: "KnownApplication") -> bool:
        """Return whether both are equal, however their numbers are written."""
        if self == other:
            return True
        as_written = structs.replace(other, member_features=self.member_features, job_features=self.job_features)
        vectors = [self.member_features, self.job_features, other.member_features, other.job_features]
        member, job, other_member, other_job = wire.vectors(vectors)
        return self == as_written and (member, job) == (other_member, other_job)


class KnownEngagement(Struct, frozen=True, gc=False, array_like=True):
    """An engagement as it is kept."""

    job_id: str
    kind: str
    engaged_at: int
    engagement_id: str | None

    @classmethod
    def of(cls, engagement: wire.Engagement) -> Self:
        """Return what is kept of ``engagement``."""
        return cls(engagement.job_id, engagement.kind, engagement.engaged_at, engagement.engagement_id)


class Verdict(Struct, frozen=True, gc=False, array_like=True):
    """What the label of an application is, and why."""

    value: Value | None
    weight: float
    final: bool
    reason: str
    happened_at: int


class WaitingEngagement(Struct, frozen=True, gc=False, array_like=True):
    """An engagement whose application has not come: a source record still, to be rejected as it was read."""

    engagement: KnownEngagement
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @classmethod
    def of(cls, engagement: KnownEngagement, record: SourceRecord) -> Self:
        """Return what is kept of ``record``, in which ``engagement`` was."""
        return cls(
            engagement, record.topic, record.partition, record.offset, record.key, record.value, list(record.headers)
        )

    @property
    def timestamp(self) -> int:
        """When it came is not kept."""
        return 0


class SilentNegative(Struct, frozen=True, gc=False, array_like=True):
    """What silence says of an application that may still be answered."""

    rule: str
    weight: float
    since: int
    """Event time (ms) of what said it."""


class LifeCycle(Struct, gc=False, array_like=True):
    """All that is kept of one application until nothing can change it any more: a record of the label table."""

    revision: int = 0
    verdict: Verdict | None = None
    engagements: list[KnownEngagement] = field(default_factory=list)
    application: KnownApplication | None = None
    waiting: list[WaitingEngagement] = field(default_factory=list)
    over: bool = False
    """Nothing can change it any more: what is left, until it is forgotten, is that the id was used."""
    silence: SilentNegative | None = None

    def apply(self, application: KnownApplication, policy: LabelPolicy) -> bool:
        """Take in the application, and what waited for it and is about the same job; return whether it was news.

        Raises
        ------
        ConflictingDuplicateError
            Another application was sent under this id.
        """
        if self.application is None:
            self.application = application
            for waiting in self.waiting:
                if waiting.engagement.job_id == application.job_id:
                    self.engage(waiting.engagement, policy)
            self.waiting = []
            return True
        if not self.application.says_the_same_as(application):
            raise ConflictingDuplicateError("an application with this id and other content came before")
        return False

    def wait(self, known: KnownEngagement, record: SourceRecord, policy: LabelPolicy) -> bool:
        """Put aside an engagement that came before its application; return whether it was news.

        Raises
        ------
        ConflictingDuplicateError
            Another engagement was sent under this id.
        OrphanEngagementError
            Too many wait for this application already.
        """
        # Those about another job are refused once the application is there: they must take no id from this one.
        others = [waiting.engagement for waiting in self.waiting if waiting.engagement.job_id == known.job_id]
        if _seen(known, others):
            return False
        if len(self.waiting) >= policy.orphan_count:
            raise OrphanEngagementError(f"{len(self.waiting)} engagements wait for this application already")
        if sum(map(bytes_of, [*self.waiting, record])) > MAX_WAITING_BYTES:
            raise OrphanEngagementError("it came before its application and is too large to wait for it")
        self.waiting.append(WaitingEngagement.of(known, record))
        return True

    def give_up(self, now: int, policy: LabelPolicy) -> list[WaitingEngagement]:
        """Return, and no longer keep, the engagements that have waited too long at event time ``now`` (ms)."""
        orphans = [waiting for waiting in self.waiting if waiting.engagement.engaged_at + policy.orphan_wait <= now]
        self.waiting = [waiting for waiting in self.waiting if waiting not in orphans]
        return orphans

    def engage(self, engagement: KnownEngagement, policy: LabelPolicy) -> bool:
        """Take in an engagement of a known application; return whether it was news.

        Raises
        ------
        ConflictingDuplicateError
            Another engagement was sent under this id.
        """
        if _seen(engagement, self.engagements):
            return False
        self.engagements.append(engagement)
        if len(self.engagements) > MAX_ENGAGEMENTS:
            deciding = policy.deciding(self.engagements, self._known_application().applied_at)
            oldest = next(index for index, other in enumerate(self.engagements) if other is not deciding)
            del self.engagements[oldest]
        return True

    def awaits_answer(self, policy: LabelPolicy) -> bool:
        """Return whether silence can say something: the application is there, unanswered, and its window open."""
        if self.verdict is None or self.application is None or self.verdict.final:
            return False
        return self.verdict.value is None or policy.deciding(self.engagements, self.application.applied_at) is None

    def closes_at(self, policy: LabelPolicy) -> int:
        """Return the event time (ms) at which silence becomes a final negative."""
        return self._known_application().applied_at + policy.window

    def answered_after(self, policy: LabelPolicy) -> int | None:
        """Return how long after the application its first answer came (ms); ``None`` where there is none."""
        applied_at = self._known_application().applied_at
        answered_at = policy.first_answer(self.engagements, applied_at)
        return None if answered_at is None else max(answered_at - applied_at, 0)

    def open(self) -> Verdict:
        """Return the first verdict of every application: nothing is known yet, so it is scored and waits."""
        application = self._known_application()
        return self._revise(_open(application.applied_at))

    def step(self, now: int, policy: LabelPolicy) -> Verdict | None:
        """Return the verdict at event time ``now`` (ms) as the next revision, or ``None`` where it says nothing new."""
        current = self.judge(now, policy)
        previous = self.verdict
        if previous is None or current == previous:
            return None
        if previous.final and now >= self.closes_at(policy):
            current = structs.replace(current, reason=current.reason.replace("explicit:", "late-engagement:", 1))
            if current == previous:
                return None
        return self._revise(current)

    def judge(self, now: int, policy: LabelPolicy) -> Verdict:
        """Return what the label is at event time ``now`` (ms): a function of the events alone."""
        applied_at = self._known_application().applied_at
        closes_at = self.closes_at(policy)
        closed = now >= closes_at
        deciding = policy.deciding(self.engagements, applied_at)
        if deciding is not None and (value := policy.value(deciding.kind)) is not None:
            settled = policy.settles(value)
            happened_at = closes_at if closed and not settled else deciding.engaged_at
            return Verdict(value, 1.0, settled or closed, f"explicit:{deciding.kind}", happened_at)
        if closed:
            return Verdict(0, 1.0, True, "window-closed", closes_at)  # noqa: FBT003 # final
        if self.silence is not None:
            return Verdict(0, self.silence.weight, False, f"silence:{self.silence.rule}", self.silence.since)  # noqa: FBT003
        return _open(applied_at)

    def _known_application(self) -> KnownApplication:
        if self.application is None:
            raise ValueError("an application that has not come has no label")
        return self.application

    def _revise(self, verdict: Verdict) -> Verdict:
        self.revision += 1
        self.verdict = verdict
        return verdict


def _open(applied_at: int) -> Verdict:
    return Verdict(value=None, weight=0.0, final=False, reason="opened", happened_at=applied_at)


def _seen(engagement: KnownEngagement, others: list[KnownEngagement]) -> bool:
    """Whether the same engagement came before."""
    for other in others:
        if other == engagement:
            return True
        if engagement.engagement_id is not None and other.engagement_id == engagement.engagement_id:
            raise ConflictingDuplicateError("an engagement with this id and other content came before")
    return False
