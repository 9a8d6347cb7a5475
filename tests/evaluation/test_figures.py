"""The numbers behind the plots, against the definitions written down once more."""

import numpy as np
import pytest
from builders import DAY
from evaluation_ground import SINCE
from sklearn.metrics import roc_auc_score

from stream_qa.evaluation.evaluate import ModelScores, Scored
from stream_qa.evaluation.figures import (
    LABEL_COUNTS,
    PUBLISH_INTERVALS,
    by_week,
    label_delay,
    publish_cost,
    staleness_by_week,
    who_gains,
)
from stream_qa.evaluation.replayed import Replayed
from stream_qa.learning.arrays import Floats, Integers

WINDOW = 14 * DAY


@pytest.fixture
def scored(rows: Replayed) -> Scored:
    return Scored.of(rows, rows.final, SINCE)


def models(rows: Replayed) -> dict[str, ModelScores]:
    return {"personalised": ModelScores(rows.log_odds, rows.published.daily)}


def areas(target: Floats, scores: Floats, of: Integers, classes: int) -> list[float]:
    found = []
    for number in range(classes):
        own = of == number
        both = own.any() and 0 < target[own].mean() < 1
        found.append(float(roc_auc_score(target[own], scores[own])) if both else np.nan)
    return found


def test_weeks_are_counted_from_the_first_moment(rows: Replayed, scored: Scored) -> None:
    week = (rows.applied_at[scored.rows] - SINCE) // (7 * DAY)
    [line] = by_week(models(rows), rows, scored, SINCE)
    assert line.x.tolist() == [0.0, 7.0, 14.0]
    np.testing.assert_allclose(line.y, areas(scored.target, rows.log_odds[scored.rows], week, 3))


def test_staleness_is_what_each_adds_to_the_global_model(rows: Replayed, scored: Scored) -> None:
    week = (rows.applied_at[scored.rows] - SINCE) // (7 * DAY)
    lines = {line.name: line for line in staleness_by_week(rows, scored, SINCE)}
    published, by_all = rows.published, rows.global_log_odds
    base = np.array(areas(scored.target, by_all[scored.rows], week, 3))
    variants = {
        "nothing frozen": published.daily,
        "members frozen": by_all + published.frozen_member + published.daily_job,
        "jobs frozen": by_all + published.daily_member + published.frozen_job,
        "both frozen": by_all + published.frozen_member + published.frozen_job,
    }
    assert lines.keys() == variants.keys()
    for name, scores in variants.items():
        assert lines[name].x.tolist() == [0.0, 7.0, 14.0]
        np.testing.assert_allclose(lines[name].y, areas(scored.target, scores[scored.rows], week, 3) - base)


def test_publish_cost_is_the_area_under_each_interval_s_scores(rows: Replayed, scored: Scored) -> None:
    cost = publish_cost(rows, scored)
    published = rows.published
    variants = (rows.log_odds, published.hourly, published.daily, published.weekly)
    assert len(PUBLISH_INTERVALS) == len(variants)
    for area, scores in zip(cost.y.tolist(), variants, strict=True):
        assert area == pytest.approx(roc_auc_score(scored.target, scores[scored.rows]))
    assert len(set(cost.y.tolist())) == len(variants)


def test_delays_are_of_the_first_label_of_each_kind(rows: Replayed, scored: Scored) -> None:
    steps = rows.steps
    lines = {line.name.partition(",")[0]: line for line in label_delay(rows, scored, WINDOW)}
    told = zip(steps.row.tolist(), steps.known_at.tolist(), steps.value.tolist(), strict=True)
    positive: dict[int, int] = {}
    for row, known_at, value in told:
        if value == 1:
            positive.setdefault(row, known_at)
    of = [row for row in scored.rows.tolist() if rows.final[row] == 1]
    for age, share in zip(lines["a positive label"].x, lines["a positive label"].y, strict=True):
        in_time = [row for row in of if row in positive and positive[row] - rows.applied_at[row] <= age * DAY]
        assert share == pytest.approx(len(in_time) / len(of))
    for line in lines.values():
        assert (np.diff(line.y) >= 0).all()
    assert (lines["any label"].y >= lines["its final value"].y).all()


def test_who_gains_is_by_the_labels_that_were_known_before(rows: Replayed, scored: Scored) -> None:
    first: dict[int, int] = {}
    for row, known_at in zip(rows.steps.row.tolist(), rows.steps.known_at.tolist(), strict=True):
        first.setdefault(row, known_at)
    found = who_gains(models(rows), rows, scored)
    for kind, entity in (("member", rows.members.of), ("job", rows.jobs.of)):
        counts = [
            sum(entity[other] == entity[row] and first[other] < rows.applied_at[row] for other in first)
            for row in scored.rows.tolist()
        ]
        of = np.array([sum(count >= bound for bound in LABEL_COUNTS) - 1 for count in counts])
        [line] = found[kind]
        np.testing.assert_allclose(
            line.y, areas(scored.target, rows.log_odds[scored.rows], of, len(line.y)), equal_nan=True
        )
        assert set(of.tolist()) <= set(line.x.tolist())
