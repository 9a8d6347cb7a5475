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

import base64
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from stream_qa.errors import ConflictingDuplicateError, OrphanEngagementError
from stream_qa.events import Application, Engagement, Record, SourceRecord, Value
from stream_qa.labels.policy import LabelPolicy

#: Engagements remembered of one application. Beyond it only those that could decide replace others.
MAX_ENGAGEMENTS = 64

_Bytes = Annotated[
    bytes,
    BeforeValidator(lambda value: base64.b64decode(value) if isinstance(value, str) else value),
    PlainSerializer(lambda value: base64.b64encode(value).decode(), when_used="json"),
]


class Verdict(NamedTuple):
    """What the label of an application is, and why."""

    value: Value | None
    weight: float
    final: bool
    reason: str
    happened_at: int


@dataclass(frozen=True, slots=True)
class WaitingEngagement:
    """An engagement whose application has not come, with the record it was read from."""

    engagement: Engagement
    topic: str
    partition: int
    offset: int
    key: _Bytes | None
    value: _Bytes | None
    headers: list[tuple[str, _Bytes | None]]

    def record(self) -> Record:
        """Return the original record."""
        return Record(self.topic, self.partition, self.offset, self.key, self.value, self.headers)


@dataclass(slots=True)
class LifeCycle:
    """All that is kept of one application until nothing can change it any more: a record of the label table."""

    forget_at: int | None = None
    """Nothing can change it any more: what is left, until this event time (ms), is that the id was used."""
    application: Application | None = None
    waiting: list[WaitingEngagement] = field(default_factory=list)
    engagements: list[Engagement] = field(default_factory=list)
    revision: int = 0
    verdict: Verdict | None = None

    @property
    def over(self) -> bool:
        """Whether nothing can change it any more."""
        return self.forget_at is not None

    def apply(self, application: Application, policy: LabelPolicy) -> bool:
        """Take in the application, and what waited for it; return whether it was news.

        Raises
        ------
        ConflictingDuplicateError
            Another application was sent under this id.
        """
        if self.application is None:
            self.application = application
            for waiting in self.waiting:
                self.engage(waiting.engagement, policy)
            self.waiting = []
            return True
        if self.application != application:
            raise ConflictingDuplicateError("an application with this id and other content came before")
        return False

    def wait(self, engagement: Engagement, record: SourceRecord, policy: LabelPolicy) -> bool:
        """Put aside an engagement that came before its application; return whether it was news.

        Raises
        ------
        ConflictingDuplicateError
            Another engagement was sent under this id.
        OrphanEngagementError
            Too many wait for this application already.
        """
        if _known(engagement, [waiting.engagement for waiting in self.waiting]):
            return False
        if len(self.waiting) >= policy.orphan_count:
            raise OrphanEngagementError(f"{len(self.waiting)} engagements wait for this application already")
        self.waiting.append(
            WaitingEngagement(
                engagement=engagement,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
            )
        )
        return True

    def give_up(self, now: int, policy: LabelPolicy) -> list[WaitingEngagement]:
        """Return, and no longer keep, the engagements that have waited too long at event time ``now`` (ms)."""
        orphans = [waiting for waiting in self.waiting if waiting.engagement.engaged_at + policy.orphan_wait <= now]
        self.waiting = [waiting for waiting in self.waiting if waiting not in orphans]
        return orphans

    def engage(self, engagement: Engagement, policy: LabelPolicy) -> bool:
        """Take in an engagement of a known application; return whether it was news.

        Raises
        ------
        ConflictingDuplicateError
            Another engagement was sent under this id.
        """
        if _known(engagement, self.engagements):
            return False
        self.engagements.append(engagement)
        if len(self.engagements) > MAX_ENGAGEMENTS:
            deciding = policy.deciding(self.engagements, self._known_application().applied_at)
            oldest = next(index for index, other in enumerate(self.engagements) if other is not deciding)
            del self.engagements[oldest]
        return True

    def closes_at(self, policy: LabelPolicy) -> int:
        """Return the event time (ms) at which silence becomes a final negative."""
        return self._known_application().applied_at + policy.window

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
            current = current._replace(reason=current.reason.replace("explicit:", "late-engagement:", 1))
            if current == previous:
                return None
        return self._revise(current)

    def judge(self, now: int, policy: LabelPolicy) -> Verdict:
        """Return what the label is at event time ``now`` (ms): a function of the events alone."""
        closes_at = self.closes_at(policy)
        closed = now >= closes_at
        deciding = policy.deciding(self.engagements, self._known_application().applied_at)
        if deciding is not None:
            value = policy.value(deciding.kind)
            # Nothing outranks a positive engagement, so it need not wait for the window to close.
            settled = value == 1
            return Verdict(
                value=value,
                weight=1.0,
                final=settled or closed,
                reason=f"explicit:{deciding.kind}",
                happened_at=closes_at if closed and not settled else deciding.engaged_at,
            )
        if closed:
            return Verdict(value=0, weight=1.0, final=True, reason="window-closed", happened_at=closes_at)
        return _open(closes_at - policy.window)

    def _known_application(self) -> Application:
        if self.application is None:
            raise ValueError("an application that has not come has no label")
        return self.application

    def _revise(self, verdict: Verdict) -> Verdict:
        self.revision += 1
        self.verdict = verdict
        return verdict


def _open(applied_at: int) -> Verdict:
    return Verdict(value=None, weight=0.0, final=False, reason="opened", happened_at=applied_at)


def _known(engagement: Engagement, others: list[Engagement]) -> bool:
    """Whether the same engagement was seen before."""
    for other in others:
        if other == engagement:
            return True
        if engagement.engagement_id is not None and other.engagement_id == engagement.engagement_id:
            raise ConflictingDuplicateError("an engagement with this id and other content came before")
    return False


_ADAPTER = TypeAdapter(LifeCycle)


def pack(life_cycle: LifeCycle) -> bytes:
    """Return the table's record of ``life_cycle``."""
    return _ADAPTER.serializer.to_json(life_cycle)


def unpack(record: bytes) -> LifeCycle:
    """Return what :func:`pack` packed."""
    life_cycle: LifeCycle = _ADAPTER.validator.validate_json(record)
    return life_cycle
