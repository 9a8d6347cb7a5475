"""The models beside the pipeline: what each may know, and when."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from builders import DAY
from evaluation_ground import SINCE, UNTIL, EvaluationGround
from sklearn.ensemble import HistGradientBoostingClassifier

from stream_qa.durations import HOUR
from stream_qa.evaluation.models import Ground, ModelName, model_scores
from stream_qa.evaluation.oracle import all_knowing, with_instant_answers
from stream_qa.evaluation.replayed import Replayed
from stream_qa.evaluation.trees import first_days_of_months, trees
from stream_qa.learning.arrays import Floats
from stream_qa.learning.metrics import auc
from stream_qa.stages.pipeline import build_pipeline

WINDOW = 14 * DAY


def ground_of(ground: EvaluationGround, rows: Replayed, target: Floats) -> Ground:
    return Ground(ground.events, build_pipeline(ground.settings), ground.bundle, rows, target, SINCE, UNTIL, HOUR)


@pytest.mark.parametrize("name", ModelName)
def test_each_scores_all_that_was_replayed(
    name: ModelName, evaluation_ground: EvaluationGround, rows: Replayed
) -> None:
    scores = model_scores(name, ground_of(evaluation_ground, rows, rows.final))
    counts = rows.applied_at >= SINCE
    assert scores.log_odds.shape == scores.day_log_odds.shape == (len(rows),)
    assert np.isfinite(scores.log_odds[counts]).all()
    assert np.isfinite(scores.day_log_odds[counts]).all()


def test_the_oracle_is_told_the_target_and_uses_it_for_later_applications_only(
    evaluation_ground: EvaluationGround, rows: Replayed
) -> None:
    """Where the target is what an applicant's number says, it learns it; and no score knows its own target."""
    target = (rows.members.of % 2).astype(np.float64)
    scores = model_scores(ModelName.ORACLE, ground_of(evaluation_ground, rows, target)).log_odds
    counts = rows.applied_at >= SINCE
    told = auc(target[counts], scores[counts])
    untold = auc(target[counts], rows.log_odds[counts])
    assert told is not None
    assert untold is not None
    assert told > untold + 0.2
    last = len(rows) - 1
    other = target.copy()
    other[last] = 1 - other[last]
    assert model_scores(ModelName.ORACLE, ground_of(evaluation_ground, rows, other)).log_odds[last] == scores[last]


def test_the_oracle_hears_nothing_of_targets_that_are_not_known(
    evaluation_ground: EvaluationGround, rows: Replayed
) -> None:
    pipeline = all_knowing(build_pipeline(evaluation_ground.settings))
    target = np.full(len(rows), np.nan)
    target[:3] = [0.0, 1.0, 0.0]
    events = with_instant_answers(evaluation_ground.events, rows, target, pipeline.label.topics)
    answers = [event for event in events if event.topic == pipeline.label.topics.engagements]
    assert len(answers) == 3
    assert [event.time for event in answers] == rows.applied_at[:3].tolist()


def test_trees_are_those_of_scikit_learn_grown_on_what_was_known(rows: Replayed) -> None:
    features = np.column_stack([rows.member_features, rows.job_features])
    moments = [SINCE, SINCE + 7 * DAY]
    theirs = np.empty(len(rows))
    for moment in moments:
        known = rows.applied_at + WINDOW <= moment
        grown = HistGradientBoostingClassifier(random_state=0).fit(features[known], rows.final[known])
        later = rows.applied_at >= moment if moment > SINCE else np.ones(len(rows), np.bool_)
        theirs[later] = grown.decision_function(features[later])
    np.testing.assert_allclose(trees(rows, moments, WINDOW), theirs)
    # After the last application there is nothing to score.
    np.testing.assert_array_equal(trees(rows, [*moments, UNTIL], WINDOW), trees(rows, moments, WINDOW))


@pytest.mark.parametrize("final", [np.nan, 0.0, 1.0])
def test_where_nothing_can_be_told_apart_trees_say_the_rate(rows: Replayed, final: float) -> None:
    scores = trees(replace(rows, final=np.full(len(rows), final)), [SINCE], WINDOW)
    assert len(set(scores.tolist())) == 1
    assert np.isfinite(scores).all()


def test_months_begin_on_their_first_day() -> None:
    def moment(*day: int) -> int:
        return round(datetime(*day, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]

    since, until = moment(2012, 10, 1), moment(2013, 2, 1)
    assert first_days_of_months(since, until) == [moment(2012, 11, 1), moment(2012, 12, 1), moment(2013, 1, 1)]
    assert first_days_of_months(since - 1, since + 1) == [since]
    assert first_days_of_months(since, since) == []
