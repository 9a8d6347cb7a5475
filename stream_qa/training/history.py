"""What a log says of its applications at one moment: their labels as they are known then, and nothing of later.

The log goes through the code that labels in the workers, up to that moment.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from stream_qa.errors import RejectedError, TrainingError
from stream_qa.events import Application, Decoder, Engagement, Record, TopicNames, WireDecoder, wire
from stream_qa.labels import LabelPolicy
from stream_qa.labels.life_cycle import KnownApplication
from stream_qa.labels.policy import Silence, SilenceRule
from stream_qa.learning import FeatureSchema
from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.replay.log import LogEvent, chunks
from stream_qa.stages.label_chunk import Event, LabelChunk, Revision
from stream_qa.stages.state import MemoryState
from stream_qa.training.rows import Entities, Rows

_CHUNK_EVENTS = 5_000
_ALL = 2**62
NEVER = -1
"""Stands for a time (ms) at which nothing happened."""


@dataclass(frozen=True)
class History:
    """All ``n`` applications that were sent before a moment, in the order of their times."""

    schema: FeatureSchema
    applied_at: Integers
    """Shape ``(n,)``, ms, as all times here."""
    rows: Rows
    """Labels that are not known yet are 0."""
    happened_at: Integers
    """When what the label says happened. Shape ``(n,)``."""
    matured: Booleans
    """Whether the window is over, so that the label is final. Shape ``(n,)``."""
    answered_at: Integers
    """The first engagement that decided, no sooner than ``applied_at``; ``NEVER`` without one. Shape ``(n,)``."""
    agreed_at: Integers
    """The first one that made it positive; ``NEVER`` without one. Shape ``(n,)``."""
    rejected: Counter[str]
    """What could not be used, by the error's name."""


def read_history(
    events: Iterable[LogEvent],
    *,
    topics: TopicNames,
    policy: LabelPolicy,
    until: int,
    max_message_bytes: int,
    advance: Callable[[int], object] = lambda _count: None,
) -> History:
    """Return what was known at ``until`` (ms) of the applications in a log.

    Parameters
    ----------
    events
        In event-time order; those at ``until`` and later are not looked at.
    topics
        Their topics.
    policy
        Says what the labels are.
    until
        The moment.
    max_message_bytes
        What is larger is no event.
    advance
        Is told how many events were read.

    Raises
    ------
    TrainingError
        There is no application before ``until``.
    """
    # What silence may say before the window closes is no matter here: only final labels are used.
    silent = policy.model_copy(update={"silence": Silence(rule=SilenceRule.NONE)})
    labels = _Labels(silent, topics, max_message_bytes)
    for chunk in chunks(takewhile(lambda event: event.time < until, events), _CHUNK_EVENTS, _ALL):
        labels.take(chunk)
        advance(len(chunk))
    labels.close(until)
    return labels.history(until)


@dataclass
class _Known:
    """What became known of one application."""

    application: KnownApplication
    value: int = 0
    final: bool = False
    happened_at: int = NEVER
    answered_at: int = NEVER
    agreed_at: int = NEVER


@dataclass
class _Labels:
    """Takes the log through the label stage's code, and keeps of each application what its label's revisions said."""

    policy: LabelPolicy
    topics: TopicNames
    max_message_bytes: int
    known: dict[str, _Known] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._state = MemoryState()
        self._decoders: dict[str, WireDecoder[Any]] = {
            self.topics.applications: WireDecoder(wire.Application, Decoder(Application, self.max_message_bytes)),
            self.topics.engagements: WireDecoder(wire.Engagement, Decoder(Engagement, self.max_message_bytes)),
        }

    def take(self, events: Sequence[LogEvent]) -> None:
        self._process([(event, self._decode(event)) for event in events])

    def close(self, until: int) -> None:
        """Let event time come to ``until``: the windows that end before have ended."""
        tick = wire.Tick(0, until, applications=True, engagements=True)
        self._process([(LogEvent(until, 0, b"", None, self.topics.ticks), tick)])

    def history(self, until: int) -> History:
        known = list(self.known.values())
        if not known:
            raise TrainingError("the log has no usable application before --until")
        applications = [one.application for one in known]
        applied_at = np.array([application.applied_at for application in applications], np.int64)
        # An answer may make a label final at once: to take only those early would be to take the answered.
        over = applied_at + self.policy.window <= until - self.policy.lateness
        return History(
            schema=FeatureSchema.of(applications[0]),
            applied_at=applied_at,
            rows=Rows(
                members=Entities.of_ids([application.member_id for application in applications]),
                jobs=Entities.of_ids([application.job_id for application in applications]),
                member_features=_vectors([application.member_features for application in applications]),
                job_features=_vectors([application.job_features for application in applications]),
                brought=np.array([application.global_log_odds for application in applications], np.float64),
                value=np.array([one.value for one in known], np.float64),
            ),
            happened_at=np.array([one.happened_at for one in known], np.int64),
            matured=over & np.array([one.final for one in known], np.bool_),
            answered_at=np.array([one.answered_at for one in known], np.int64),
            agreed_at=np.array([one.agreed_at for one in known], np.int64),
            rejected=self.rejected,
        )

    def _decode(self, event: LogEvent) -> Event | RejectedError:
        [decoded] = self._decoders[event.topic].decode([event.value])
        return decoded

    def _process(self, events: Sequence[tuple[LogEvent, Event | RejectedError]]) -> None:
        chunk = LabelChunk(self.policy, None, None, self._state, most_due=_ALL, partition=0)
        records = [Record(line.topic, 0, number, line.key, line.value) for number, (line, _) in enumerate(events)]
        chunk.process(records, [event for _, event in events])
        self._state.apply(chunk.changes)
        self.rejected.update(type(error).__name__ for _, error in chunk.rejected)
        for revision in chunk.revisions:
            self._learn(revision)

    def _learn(self, revision: Revision) -> None:
        application, verdict = revision.application, revision.verdict
        one = self.known.setdefault(application.application_id, _Known(application))
        one.value, one.final, one.happened_at = verdict.value or 0, verdict.final, verdict.happened_at
        if verdict.reason.startswith("explicit:"):
            if one.answered_at == NEVER:
                one.answered_at = max(verdict.happened_at, application.applied_at)
            if one.agreed_at == NEVER and verdict.value == 1:
                one.agreed_at = verdict.happened_at


_AT_ONCE = 10_000


def _vectors(texts: Sequence[bytes]) -> Floats:
    """Return feature vectors, shape ``(n, k)``; not all at once: as lists of numbers they are large."""
    return np.concatenate(list(_parts(texts)))


def _parts(texts: Sequence[bytes]) -> Iterator[Floats]:
    for start in range(0, len(texts), _AT_ONCE):
        yield np.array(wire.vectors(texts[start : start + _AT_ONCE]), np.float64)
