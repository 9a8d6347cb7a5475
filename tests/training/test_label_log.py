"""What labels say of the events behind them is all that training needs: the history is that of the events."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import DAY, START, label
from evaluation_ground import SINCE, EvaluationGround
from retraining_ground import Labels

from stream_qa.events import TopicNames, wire
from stream_qa.labels import LabelPolicy
from stream_qa.labels.policy import Precedence
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.training.history import History, read_history
from stream_qa.training.label_log import LabelLog, believing

TOPICS = TopicNames()
_decode = msgspec.json.Decoder(wire.Label).decode


def labels_of(events: Sequence[LogEvent], settings: Settings, policy: LabelPolicy) -> list[wire.Label]:
    """Return the labels that the stages make of a log, in several partitions."""
    pipeline = build_pipeline(settings)
    sink = Labels(TOPICS)
    stages = InProcessReplay(replace(pipeline, label=replace(pipeline.label, policy=policy)), 3, sink)
    for chunk in chunks(events, 500, 3_600_000):
        stages.run(chunk)
    return sink.found


def log_of(labels: Iterable[wire.Label], policy: LabelPolicy) -> LabelLog:
    log = LabelLog(TOPICS, policy)
    for one in labels:
        log.add(one)
    return log


def history(events: Sequence[LogEvent], policy: LabelPolicy) -> History:
    return read_history(events, topics=TOPICS, policy=policy, until=SINCE, max_message_bytes=1_000_000)


def said(found: History) -> dict[str, tuple[Any, ...]]:
    """Return what a history says, by member, job and time, which name an application."""
    rows = found.rows
    columns = (rows.value, rows.brought, found.happened_at, found.matured, found.answered_at, found.agreed_at)
    return {
        f"{rows.members.ids[member]} {rows.jobs.ids[job]} {at}": tuple(map(str, line))
        for member, job, at, *line in zip(
            rows.members.of.tolist(),
            rows.jobs.of.tolist(),
            found.applied_at.tolist(),
            *(column.tolist() for column in columns),
            rows.member_features.tolist(),
            rows.job_features.tolist(),
            strict=True,
        )
    }


@pytest.mark.parametrize("precedence", Precedence)
def test_a_history_from_labels_is_that_from_events(evaluation_ground: EvaluationGround, precedence: Precedence) -> None:
    policy = LabelPolicy(
        precedence=precedence, positive=frozenset({"message", "offer"}), negative=frozenset({"rejection"})
    )
    events = evaluation_ground.events
    labels = labels_of(events, evaluation_ground.settings, policy)
    from_events = history(events, policy)
    assert len(set(from_events.rows.value.tolist())) == 2
    assert (from_events.answered_at != -1).any()
    log = log_of(np.random.default_rng(0).permutation(np.array(labels, object)).tolist(), policy)
    assert said(history(log.events(SINCE), believing(policy))) == said(from_events)
    assert log.labels == len(labels)


def test_a_score_is_the_applications_own_only_where_it_brought_one() -> None:
    brought = label("brought", global_log_odds=0.5).model_dump() | {"global_brought": True}
    model_score = label("not", global_log_odds=0.5).model_dump()
    log = log_of([_decode(msgspec.json.encode(one)) for one in (brought, model_score)], LabelPolicy())
    events = [msgspec.json.decode(event.value) for event in log.events()]
    assert {one["application_id"]: one["global_log_odds"] for one in events} == {"brought": 0.5, "not": None}


def of(**fields: Any) -> wire.Label:  # noqa: ANN401 # those of a label
    return _decode(label(**fields).model_dump_json().encode())


def test_what_is_said_again_at_the_end_of_the_window_is_no_second_engagement() -> None:
    closed = START + 14 * DAY
    revisions = [
        of(),
        of(revision=2, value=0, reason="explicit:rejection", happened_at=START + DAY),
        of(revision=3, value=0, final=True, reason="explicit:rejection", happened_at=closed),
    ]
    engagements = [event for event in log_of(revisions, LabelPolicy()).events() if event.topic == TOPICS.engagements]
    assert [event.time for event in engagements] == [START + DAY]


def test_one_that_came_late_happened_within_the_window() -> None:
    closed = START + 14 * DAY
    late = of(revision=3, value=1, final=True, reason="late-engagement:message", happened_at=closed)
    [_, engagement] = log_of([late], LabelPolicy()).events()
    assert engagement.time == closed - 1
    assert log_of([late], LabelPolicy()).events(until=closed - 1) == log_of([of()], LabelPolicy()).events()


def test_an_answer_that_is_ahead_of_the_applications_moves_nothing_on() -> None:
    early = of(revision=2, value=1, reason="explicit:message", happened_at=START + 3 * DAY, watermark=START + DAY)
    assert log_of([early], LabelPolicy()).reached == START + DAY


def test_it_knows_until_when_labels_named_a_model() -> None:
    log = log_of(
        [of(model_version="first", watermark=START), of(model_version="first", watermark=START + DAY), of()],
        LabelPolicy(),
    )
    assert log.named_until == {"first": START + DAY, "none": START}
    assert log.reached == START + DAY
