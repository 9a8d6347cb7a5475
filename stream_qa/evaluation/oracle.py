"""What no one can deploy: a learner that is told how an application ends at the moment at which it is sent."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from stream_qa.evaluation.replayed import Replayed
from stream_qa.events import TopicNames, wire
from stream_qa.labels.policy import LabelPolicy, Silence, SilenceRule
from stream_qa.learning.arrays import Floats
from stream_qa.replay.log import LogEvent
from stream_qa.stages.pipeline import Pipeline

_YES, _NO = "oracle-yes", "oracle-no"


def all_knowing(pipeline: Pipeline) -> Pipeline:
    """Return the same stages, set up to believe the answers of :func:`with_instant_answers`."""
    policy = LabelPolicy.model_validate(
        pipeline.label.policy.model_dump()
        | {
            "positive": frozenset({_YES}),
            "negative": frozenset({_NO}),
            "neutral": frozenset(),
            "silence": Silence(rule=SilenceRule.NONE),
        }
    )
    return replace(pipeline, label=replace(pipeline.label, policy=policy))


def with_instant_answers(
    events: Iterable[LogEvent], rows: Replayed, target: Floats, topics: TopicNames
) -> list[LogEvent]:
    """Return the applications of a log, each answered at the moment at which it is sent, and no other events.

    Parameters
    ----------
    events
        The log.
    rows
        Its applications.
    target
        Of ``n`` of them 0 or 1, or NaN for no answer.
    topics
        The topics.
    """
    applications = [event for event in events if event.topic == topics.applications]
    return sorted([*applications, *_answers(rows, target.tolist(), topics.engagements)])


def _answers(rows: Replayed, target: Sequence[float], topic: str) -> Iterable[LogEvent]:
    for row, value in enumerate(target):
        if not math.isnan(value):
            job_id, sent_at = rows.jobs.ids[rows.jobs.of[row]], int(rows.applied_at[row])
            answer = wire.Engagement(rows.ids[row], job_id, _YES if value else _NO, sent_at)
            yield LogEvent(sent_at, 1, wire.encode(answer), job_id.encode(), topic)
