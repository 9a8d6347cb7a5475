"""What a replay says of each application is what was known when it is said, and nothing of later."""

import numpy as np
import orjson
import pytest
from builders import DAY
from evaluation_ground import SINCE, UNTIL, EvaluationGround
from label_oracle import event_of, expected_outcomes

from stream_qa.durations import HOUR
from stream_qa.errors import EvaluationError
from stream_qa.evaluation.replayed import Replayed
from stream_qa.events import Application, Engagement
from stream_qa.labels import LabelPolicy

TYPES = {"applications": "application", "engagements": "engagement"}


def test_it_has_every_application_before_the_end_and_its_features(
    evaluation_ground: EvaluationGround, rows: Replayed
) -> None:
    sent = [orjson.loads(event.value) for event in evaluation_ground.events if event.topic == "applications"]
    sent = [fields for fields in sent if fields["applied_at"] < UNTIL]
    assert [fields["application_id"] for fields in sent] == rows.ids
    assert [fields["applied_at"] for fields in sent] == rows.applied_at.tolist()
    assert [fields["member_id"] for fields in sent] == [rows.members.ids[number] for number in rows.members.of]
    assert [fields["job_id"] for fields in sent] == [rows.jobs.ids[number] for number in rows.jobs.of]
    assert [fields["member_features"] for fields in sent] == rows.member_features.tolist()
    assert [fields["job_features"] for fields in sent] == rows.job_features.tolist()
    assert [fields["global_log_odds"] for fields in sent] == rows.global_log_odds.tolist()


def test_a_log_that_ends_earlier_gives_the_same_scores_until_then(
    evaluation_ground: EvaluationGround, rows: Replayed
) -> None:
    """What comes later can have changed none of them."""
    end = SINCE + 5 * DAY
    cut = evaluation_ground.replayed([event for event in evaluation_ground.events if event.time < end])
    assert cut.ids == rows.ids[: len(cut)]
    np.testing.assert_array_equal(cut.log_odds, rows.log_odds[: len(cut)])
    np.testing.assert_array_equal(cut.published.daily, rows.published.daily[: len(cut)])


def test_the_final_labels_are_those_of_the_oracle(evaluation_ground: EvaluationGround, rows: Replayed) -> None:
    events = [event_of(orjson.loads(event.value) | {"type": TYPES[event.topic]}) for event in evaluation_ground.events]
    known = [event for event in events if isinstance(event, Application | Engagement)]
    expected = expected_outcomes(known, LabelPolicy())
    assert [expected[name].value for name in rows.ids] == rows.final.tolist()
    assert 0 < rows.final.mean() < 1


def test_no_final_label_is_known_whose_window_the_log_does_not_reach(evaluation_ground: EvaluationGround) -> None:
    end = SINCE + 5 * DAY
    cut = evaluation_ground.replayed([event for event in evaluation_ground.events if event.time < end])
    over = cut.applied_at + LabelPolicy().window <= max(
        event.time for event in evaluation_ground.events if event.time < end
    )
    np.testing.assert_array_equal(np.isnan(cut.final), ~over)


def test_steps_of_labels_come_in_order_and_the_last_of_each_is_its_final_label(rows: Replayed) -> None:
    steps = rows.steps
    assert (np.diff(steps.known_at) >= 0).all()
    assert (steps.known_at >= rows.applied_at[steps.row]).all()
    last = dict(zip(steps.row.tolist(), steps.value.tolist(), strict=True))
    assert [last[row] for row in range(len(rows))] == rows.final.tolist()


@pytest.mark.parametrize(("name", "interval"), [("hourly", HOUR), ("daily", DAY), ("weekly", 7 * DAY)])
def test_a_published_score_is_that_of_an_application_alone_after_all_of_the_intervals_before(
    evaluation_ground: EvaluationGround, name: str, interval: int
) -> None:
    rows = evaluation_ground.replayed(decay_days=0.0)
    scores = getattr(rows.published, name)
    several = np.flatnonzero(rows.applied_at >= SINCE)[::60]
    assert len(several) == 3
    for row in several.tolist():
        began = rows.applied_at[row] // interval * interval
        before = [event for event in evaluation_ground.events if event.time < began]
        own = [
            event for event in evaluation_ground.events if orjson.loads(event.value)["application_id"] == rows.ids[row]
        ]
        alone = evaluation_ground.replayed([*before, own[0]], until=UNTIL, decay_days=0.0)
        # Published coefficients are rounded.
        assert alone.log_odds[-1] == pytest.approx(scores[row], abs=1e-5)
    assert np.isnan(scores[rows.applied_at < SINCE]).all()
    assert not np.isnan(scores[rows.applied_at >= SINCE]).any()


def test_the_parts_of_a_day_are_those_of_its_score(rows: Replayed) -> None:
    published, counts = rows.published, ~np.isnan(rows.published.daily)
    by_parts = rows.global_log_odds + published.daily_member + published.daily_job
    np.testing.assert_allclose(by_parts[counts], published.daily[counts])
    assert np.abs(published.daily_member[counts]).max() > 0.1
    assert np.abs(published.daily_job[counts]).max() > 0.1


def test_frozen_parts_are_those_of_the_first_day_and_stay(evaluation_ground: EvaluationGround, rows: Replayed) -> None:
    """On the first day they are the parts of the day's score; what is learned later is not in them."""
    frozen = rows.global_log_odds + rows.published.frozen_member + rows.published.frozen_job
    first = rows.applied_at // DAY == SINCE // DAY
    later = rows.applied_at // DAY > SINCE // DAY
    assert first.sum() > 3
    assert frozen[first] == pytest.approx(rows.published.daily[first])
    assert np.abs(frozen[later] - rows.published.daily[later]).max() > 0.1
    events = evaluation_ground.events
    untold = [event for event in events if event.time < SINCE or event.topic == "applications"]
    alone = evaluation_ground.replayed(untold).published
    np.testing.assert_array_equal(alone.frozen_member, rows.published.frozen_member)
    np.testing.assert_array_equal(alone.frozen_job, rows.published.frozen_job)


@pytest.mark.parametrize("count", [0, 5])
def test_without_an_application_before_the_end_there_is_nothing(
    evaluation_ground: EvaluationGround, count: int
) -> None:
    with pytest.raises(EvaluationError, match="no usable application"):
        evaluation_ground.replayed(evaluation_ground.events[:count], until=1)
