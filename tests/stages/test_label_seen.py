"""What the label stage says of its input beside the training's data: every application once, every label once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from builders import DAY
from label_oracle import event_of, expected_outcomes

from stream_qa.events import Application, Engagement, Record, TopicNames, wire
from stream_qa.labels import LabelPolicy
from stream_qa.learning.drift import Seen
from stream_qa.learning.profile import AnswerSample, FeatureSample, Profile, SideProfile
from stream_qa.replay.in_process import label_to_the_end
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.models import Models
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState

TOPICS = TopicNames()
MARKET = Marketplace(members=60, jobs=25, days=35, applications=400, features=2)
EVENTS: list[dict[str, Any]] = list(simulate(MARKET, np.random.default_rng(3)).events())
APPLICATIONS = [event for event in EVENTS if event["type"] == "application"]
MEMBER, JOB = (np.array([event[f"{side}_features"] for event in APPLICATIONS]) for side in ("member", "job"))
POLICY = LabelPolicy()
AGES = np.array([DAY // 4, DAY, 3 * DAY, 14 * DAY])


def taken(most: int) -> tuple[FeatureSample, Sequence[int], AnswerSample]:
    """Return what all chunks of at most so many events have together: features, labels, answers."""
    profile = Profile(
        SideProfile.of(MEMBER / 2, ["a", "b"]), SideProfile.of(JOB / 2, ["c", "d"]), 0.3, AGES, np.arange(1, 5) / 4
    )
    pipeline = build_pipeline(Settings())
    stage = replace(pipeline.label, models=Models(replace(pipeline.models.first, profile=profile)))
    topics = {"application": TOPICS.applications, "engagement": TOPICS.engagements}
    records = [
        Record(topics[event["type"]], 0, number, b"key", orjson.dumps(event)) for number, event in enumerate(EVENTS)
    ]
    state = MemoryState()
    found: list[Seen] = []
    for start in range(0, len(records), most):
        for outcome in label_to_the_end(stage, 0, records[start : start + most], state, MemoryState()):
            found += outcome.seen
    member, job, values, after = (
        [one for seen in found for one in getattr(seen, what)]
        for what in ("member_features", "job_features", "values", "answered_after")
    )
    features = profile.features(np.array(wire.vectors(member)), np.array(wire.vectors(job)))
    return features, values, profile.answers(np.array(after))


@pytest.mark.parametrize("most", [3, 50, 5_000])
def test_every_application_and_every_label_counts_once_however_the_log_is_cut(most: int) -> None:
    features, labels, answers = taken(most)
    assert features.applications == len(APPLICATIONS)
    for sample, values in ((features.member, MEMBER), (features.job, JOB)):
        outside = (values < values.min(axis=0) / 2) | (values > values.max(axis=0) / 2)
        assert sample.outside.tolist() == outside.sum(axis=0).tolist()
        assert sample.least.tolist() == values.min(axis=0).tolist()
    known = [event for event in map(event_of, EVENTS) if isinstance(event, Application | Engagement)]
    applied_at = {event["application_id"]: event["applied_at"] for event in APPLICATIONS}
    closed = {
        application_id: outcome
        for application_id, outcome in expected_outcomes(known, POLICY).items()
        if applied_at[application_id] + POLICY.window <= APPLICATIONS[-1]["applied_at"]
    }
    assert len(labels) == len(closed) > 100
    assert sum(labels) == answers.answers == sum(outcome.value or 0 for outcome in closed.values())
    first: dict[str, int] = {}
    for event in EVENTS:
        if event.get("kind") in POLICY.positive | POLICY.negative:
            application_id = event["application_id"]
            first.setdefault(application_id, event["engaged_at"] - applied_at[application_id])
    after = [first[application_id] for application_id, outcome in closed.items() if outcome.value == 1]
    assert answers.answered.tolist() == [sum(age <= bound for age in after) for bound in AGES.tolist()]
