"""Servers that get coefficients at intervals hold what was published until the interval began, and nothing else."""

from pathlib import Path

import msgspec
import orjson
from builders import DAY, START, label
from changes import delta
from evaluation_ground import EvaluationGround

from stream_qa.coefficients import entity_key
from stream_qa.durations import HOUR
from stream_qa.evaluation.published import Publishing
from stream_qa.events import wire

APPLICATION = msgspec.json.decode(
    label(member_id="m-1", member_features=[1.0, 2.0], job_features=[1.0, 2.0]).model_dump_json(), type=wire.Label
)


def test_what_was_dropped_is_held_until_the_next_interval_begins_and_no_longer(
    evaluation_ground: EvaluationGround,
) -> None:
    publishing = Publishing(evaluation_ground.bundle)
    key = entity_key("member", "m-1")
    publishing.change(START, key, wire.encode(delta(0, 1, [2.0, 0.0, 0.0], entity_id="m-1")))
    publishing.score(START + DAY, 0, APPLICATION)
    publishing.change(START + 2 * DAY, key, None)
    publishing.score(START + 2 * DAY + HOUR, 1, APPLICATION)
    publishing.score(START + 3 * DAY, 2, APPLICATION)
    scores = publishing.result(3)
    assert scores.daily_member.tolist() == [2.0, 2.0, 0.0]
    assert scores.hourly.tolist() == [2.0, 0.0, 0.0]
    assert scores.frozen_member.tolist() == [2.0, 2.0, 2.0]


def test_a_member_that_was_away_for_long_is_held_by_no_server(
    evaluation_ground: EvaluationGround, tmp_path: Path
) -> None:
    # By the built-in policy no limit is short enough for this log.
    policy = tmp_path / "policy.yaml"
    policy.write_text("orphan_days: 1")
    sent = [event for event in evaluation_ground.events if event.topic == "applications"]
    first, last = sent[0], sent[-1]
    member_id = orjson.loads(first.value)["member_id"]
    again = last._replace(value=orjson.dumps(orjson.loads(last.value) | {"member_id": member_id}))
    events = [again if event is last else event for event in evaluation_ground.events]
    for idle_days, is_held in ((0.0, True), (29.0, False)):
        rows = evaluation_ground.replayed(events, until=last.time + 1, idle_days=idle_days, policy=policy)
        assert rows.members.ids[rows.members.of[-1]] == member_id
        assert (rows.published.daily_member[-1] != 0) == is_held
