"""A night's fit knows what was known at midnight, and serves the day after the next midnight."""

from dataclasses import replace

import numpy as np
import pytest
from builders import DAY
from drawn import with_intercept
from evaluation_ground import SINCE, UNTIL, EvaluationGround
from scipy.optimize import minimize

from stream_qa.evaluation.daily_batch import daily_batch, matured_steps
from stream_qa.evaluation.replayed import LabelSteps, Replayed
from stream_qa.learning.arrays import Booleans, Floats

WINDOW = 14 * DAY


def from_the(steps: LabelSteps, moment: int) -> Booleans:
    return steps.known_at >= moment


def flipped(steps: LabelSteps, chosen: Booleans) -> LabelSteps:
    return steps._replace(value=np.where(chosen, 1.0 - steps.value, steps.value))


def test_labels_are_of_use_on_the_day_that_begins_24_hours_after_their_midnight(
    evaluation_ground: EvaluationGround, rows: Replayed
) -> None:
    as_is = daily_batch(rows, rows.steps, evaluation_ground.bundle, SINCE).log_odds
    day_of = rows.applied_at // DAY
    first = SINCE // DAY
    for day in range(first, first + 6):
        other = flipped(rows.steps, from_the(rows.steps, day * DAY))
        changed = daily_batch(rows, other, evaluation_ground.bundle, SINCE).log_odds != as_is
        assert not changed[day_of <= day + 1].any()
        assert changed[day_of > day + 1].any()


def test_the_first_night_is_the_optimum_that_scipy_finds(evaluation_ground: EvaluationGround, rows: Replayed) -> None:
    steps, bundle = rows.steps, evaluation_ground.bundle
    night = SINCE - DAY
    known = steps.known_at < night
    weight, value = np.zeros(len(rows)), np.zeros(len(rows))
    weight[steps.row[known]], value[steps.row[known]] = steps.weight[known], steps.value[known]
    of_member = with_intercept(bundle.global_model.job_features.apply(rows.job_features))
    of_job = with_intercept(bundle.global_model.member_features.apply(rows.member_features))
    columns = [
        features * (entities.of == number)[:, np.newaxis]
        for entities, features in ((rows.members, of_member), (rows.jobs, of_job))
        for number in range(len(entities.ids))
    ]
    design = np.column_stack(columns)
    precisions = np.concatenate(
        [
            np.tile(prior.scale(3) ** -2.0, len(entities.ids))
            for entities, prior in ((rows.members, bundle.member_prior), (rows.jobs, bundle.job_prior))
        ]
    )

    def loss(coefficients: Floats) -> float:
        log_odds = rows.global_log_odds + design @ coefficients
        of_rows = (np.logaddexp(0.0, log_odds) - value * log_odds) * weight
        return float(of_rows.sum() + 0.5 * (precisions * coefficients**2).sum())

    def slope(coefficients: Floats) -> Floats:
        chance = 1.0 / (1.0 + np.exp(-rows.global_log_odds - design @ coefficients))
        return np.asarray(design.T @ ((chance - value) * weight) + precisions * coefficients)

    best = minimize(loss, np.zeros(design.shape[1]), jac=slope, tol=1e-10).x
    served = rows.applied_at // DAY == SINCE // DAY
    ours = daily_batch(rows, steps, bundle, SINCE).log_odds[served]
    assert served.sum() > 3
    assert ours == pytest.approx((rows.global_log_odds + design @ best)[served], abs=0.02)
    assert np.abs(ours - rows.global_log_odds[served]).max() > 0.1


def test_who_waits_for_the_window_knows_final_labels_when_it_ends(rows: Replayed) -> None:
    half = replace(rows, final=np.where(np.arange(len(rows)) % 2, np.nan, rows.final))
    steps = matured_steps(half, WINDOW)
    assert sorted(steps.row.tolist()) == list(range(0, len(rows), 2))
    np.testing.assert_array_equal(steps.known_at, rows.applied_at[steps.row] + WINDOW)
    np.testing.assert_array_equal(steps.value, rows.final[steps.row])
    assert (np.diff(steps.known_at) >= 0).all()


def test_what_was_sent_before_has_the_score_of_the_global_model(
    evaluation_ground: EvaluationGround, rows: Replayed
) -> None:
    scores = daily_batch(rows, rows.steps, evaluation_ground.bundle, SINCE)
    before = rows.applied_at < SINCE
    np.testing.assert_array_equal(scores.log_odds[before], rows.global_log_odds[before])
    assert (rows.applied_at < UNTIL).all()
