"""A log through the stages in this process: of every application what it is, its score, and what its labels said when.

The scores are the pipeline's own: those of its ``scores`` topic, each made when the application arrived.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from typing import NamedTuple

import msgspec
import numpy as np

from stream_qa.bundle import Bundle
from stream_qa.durations import HOUR
from stream_qa.errors import EvaluationError
from stream_qa.evaluation.published import PublishedScores, Publishing
from stream_qa.events import Message, TopicNames, wire
from stream_qa.labels.policy import LabelPolicy
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks
from stream_qa.stages.models import Model
from stream_qa.stages.pipeline import Pipeline
from stream_qa.training.rows import Entities

_CHUNK_EVENTS = 1_000


class LabelSteps(NamedTuple):
    """What ``s`` revisions of labels said, in the order in which they were said."""

    known_at: Integers
    """The event time (ms) of the last event that the stages had read, shape ``(s,)``."""
    row: Integers
    """Which application, shape ``(s,)``."""
    value: Floats
    """Shape ``(s,)``."""
    weight: Floats
    """Shape ``(s,)``."""


@dataclass(frozen=True)
class Replayed:
    """``n`` applications, in the order in which they came."""

    ids: list[str]
    applied_at: Integers
    """Shape ``(n,)``, ms."""
    members: Entities
    jobs: Entities
    member_features: Floats
    """Raw, shape ``(n, k)``."""
    job_features: Floats
    """Raw, shape ``(n, l)``."""
    global_log_odds: Floats
    """Shape ``(n,)``."""
    log_odds: Floats
    """Of the whole model, when the application arrived, shape ``(n,)``."""
    published: PublishedScores
    """By coefficients that are published at intervals; NaN before ``since``, and where none were asked for."""
    final: Floats
    """The final label, shape ``(n,)``; NaN where the log ends before the window does."""
    steps: LabelSteps

    def __len__(self) -> int:
        return len(self.ids)


def replayed(
    events: Sequence[LogEvent],
    *,
    pipeline: Pipeline,
    bundle: Bundle | None,
    since: int,
    until: int,
    longest: int,
    newer: Model | None = None,
    advance: Callable[[int], object] = lambda _count: None,
) -> Replayed:
    """Return what the stages say of the applications sent before ``until``.

    The stages read on until the labels of those are final, or to the log's end.

    Parameters
    ----------
    events
        In event-time order.
    pipeline
        The stages, set up with ``bundle``.
    bundle
        The model bundle, by which applications are scored with what is published at intervals too; ``None`` where they
        are not.
    since
        From then on (ms) they are.
    until
        The moment (ms).
    longest
        The most event time (ms) that the stages take at once where scores count, never more than an hour: jobs have
        learned nothing of it yet when it is scored.
    newer
        A model that the stages take up with the first events of ``since`` or later.
    advance
        Is told how many events were read.

    Raises
    ------
    EvaluationError
        There is no usable application before ``until``.
    """
    policy, topics = pipeline.label.policy, pipeline.label.topics
    end = min(until + policy.window + policy.lateness, events[-1].time) if events else 0
    seen = _Seen(topics, None if bundle is None else Publishing(bundle), since, until)
    # One partition: one event time for all.
    stages = InProcessReplay(pipeline, 1, seen)
    for part in _by_hour(takewhile(lambda event: event.time <= end, events), longest, since, until):
        if newer is not None and part[0].time >= since:
            pipeline.models.add(newer)
            newer = None
        seen.now = part[-1].time
        stages.run(part)
        advance(len(part))
    # No application may have come for long: the windows that end before the log does have ended.
    tick = wire.encode(wire.Tick(0, end, applications=True, engagements=True))
    stages.run([LogEvent(end, 0, tick, None, topics.ticks)])
    return seen.result(end - policy.lateness, policy)


def _by_hour(events: Iterator[LogEvent], longest: int, since: int, until: int) -> Iterator[list[LogEvent]]:
    """Cut events into chunks, none of which has events of two hours (UTC).

    Those of hours whose scores count are of ``longest`` (ms) at most.
    """
    for hour, those in groupby(events, lambda event: event.time // HOUR):
        counts = since < (hour + 1) * HOUR and hour * HOUR < until
        yield from chunks(those, _CHUNK_EVENTS, longest if counts else HOUR)


@dataclass
class _Seen:
    """Takes in what the stages emit."""

    topics: TopicNames
    publishing: Publishing | None
    since: int
    until: int
    now: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    opened: list[wire.Label] = field(default_factory=list)
    scores: dict[int, float] = field(default_factory=dict)
    final: dict[int, int] = field(default_factory=dict)
    steps: list[tuple[int, int, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._label = msgspec.json.Decoder(wire.Label).decode
        self._score = msgspec.json.Decoder(wire.Score).decode

    def add(self, message: Message) -> None:
        if message.topic == self.topics.coefficients:
            if self.publishing is not None and self.now < self.until:
                self.publishing.change(self.now, message.key, message.value)
        elif message.value is None:
            return
        elif message.topic == self.topics.labels:
            self._add_label(self._label(message.value))
        elif message.topic == self.topics.scores:
            score = self._score(message.value)
            if (row := self.rows.get(score.application_id)) is not None:
                self.scores[row] = score.log_odds

    def _add_label(self, label: wire.Label) -> None:
        if label.applied_at >= self.until:
            return
        if label.revision == 1:
            row = self.rows[label.application_id] = len(self.opened)
            self.opened.append(label)
            if self.publishing is not None and label.applied_at >= self.since:
                self.publishing.score(self.now, row, label)
            return
        row = self.rows[label.application_id]
        if label.value is not None:
            self.steps.append((self.now, row, label.value, label.weight))
            if label.final:
                self.final[row] = label.value

    def result(self, reached: int, policy: LabelPolicy) -> Replayed:
        if not self.opened:
            raise EvaluationError("the log has no usable application before --until")
        labels, count = self.opened, len(self.opened)
        applied_at = np.array([label.applied_at for label in labels], np.int64)
        final = np.full(count, np.nan)
        final[list(self.final)] = list(self.final.values())
        # An answer may make a label final at once: to take only those early would be to take the answered.
        final[applied_at + policy.window > reached] = np.nan
        known_at, row, value, weight = zip(*self.steps, strict=True) if self.steps else ((), (), (), ())
        return Replayed(
            ids=[label.application_id for label in labels],
            applied_at=applied_at,
            members=Entities.of_ids([label.member_id for label in labels]),
            jobs=Entities.of_ids([label.job_id for label in labels]),
            member_features=np.array(wire.vectors([label.member_features for label in labels])),
            job_features=np.array(wire.vectors([label.job_features for label in labels])),
            global_log_odds=np.array([label.global_log_odds for label in labels]),
            log_odds=np.array([self.scores[row] for row in range(count)]),
            published=(PublishedScores.none(count) if self.publishing is None else self.publishing.result(count)),
            final=final,
            steps=LabelSteps(
                np.array(known_at, np.int64), np.array(row, np.int64), np.array(value, float), np.array(weight, float)
            ),
        )
