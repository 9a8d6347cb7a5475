"""Silence curves of a history: against counting one by one, and where they are made monotone, against scipy."""

from collections import Counter

import numpy as np
import pytest
from builders import DAY, START
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from sklearn.isotonic import IsotonicRegression

from stream_qa.learning import FeatureSchema
from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.training.curves import FEWEST_POSITIVES, fit_curves, never_falling
from stream_qa.training.history import NEVER, History
from stream_qa.training.rows import Entities, Rows

WINDOW = 14 * DAY


def history(job: Integers, applied_at: Integers, answered_at: Integers, value: Floats, matured: Booleans) -> History:
    """Return applications of which nothing matters but jobs, times and labels."""
    count = len(job)
    nothing = np.zeros((count, 0))
    jobs = Entities([f"job-{number}" for number in range(int(job.max()) + 1)], job)
    return History(
        schema=FeatureSchema("none", 0, 0),
        applied_at=applied_at,
        rows=Rows(Entities(["member-1"], np.zeros(count, np.int64)), jobs, nothing, nothing, np.zeros(count), value),
        happened_at=answered_at,
        matured=matured,
        answered_at=answered_at,
        agreed_at=np.where(value == 1, answered_at, NEVER),
        rejected=Counter(),
    )


def drawn(seed: int, count: int, jobs: int, *, sessions: bool = False) -> History:
    """Return applications over 60 days; in sessions, jobs answer all that wait at once or are silent for long."""
    random = np.random.default_rng(seed)
    job, applied_at = random.integers(0, jobs, count), np.sort(START + random.integers(0, 60 * DAY, count))
    delay = random.exponential(4 * DAY, count).astype(np.int64)
    if sessions:
        slow = random.random(jobs) < 0.5
        delay = (delay * np.where(slow, 3, 0.2)[job]).astype(np.int64)
    value = (random.random(count) < 0.7) & (delay < WINDOW)
    rejected = ~value & (random.random(count) < 0.3)
    answered_at = np.where(value | rejected, applied_at + np.minimum(delay, WINDOW - 1), NEVER)
    return history(job, applied_at, answered_at, value.astype(np.float64), applied_at + WINDOW <= START + 60 * DAY)


def share_by_counting(known: History, age: int, lowest: int, highest: int | None) -> tuple[float, int]:
    """Return the share of matured positives answered by ``age``, among those of an activity, and how many these are."""
    answered, count = 0, 0
    for row in np.flatnonzero(known.matured & (known.rows.value == 1)):
        since, until = known.applied_at[row], known.applied_at[row] + age
        others = (known.rows.jobs.of == known.rows.jobs.of[row]) & (np.arange(len(known.applied_at)) != row)
        activity = int((others & (known.answered_at > since) & (known.answered_at <= until)).sum())
        if activity >= lowest and (highest is None or activity < highest):
            count += 1
            answered += known.answered_at[row] <= until
    return answered / count if count else 0.0, count


def test_by_age_it_is_the_share_of_positives_answered_by_then() -> None:
    known = drawn(1, 900, jobs=900)
    curves = fit_curves(known).curves
    assert curves is not None
    assert curves.activities == ()
    for age, share in zip(curves.ages, curves.by_age, strict=True):
        assert share == pytest.approx(share_by_counting(known, age, 0, None)[0])
    assert curves.share(WINDOW, 0) == 1.0


def test_by_activity_it_is_near_the_share_of_those_whose_job_was_as_active() -> None:
    known = drawn(2, 1_500, jobs=60, sessions=True)
    curves = fit_curves(known).curves
    assert curves is not None
    assert curves.activities == (0, 1, 2, 4, 8)[: len(curves.activities)]
    assert len(curves.activities) > 2
    for level, lowest in enumerate(curves.activities):
        highest = (*curves.activities, None)[level + 1]
        for age in curves.ages[::8]:
            share, count = share_by_counting(known, age, lowest, highest)
            if count >= 200:
                assert curves.share(age, lowest) == pytest.approx(share, abs=0.08)


def test_an_active_job_makes_silence_say_more() -> None:
    curves = fit_curves(drawn(3, 3_000, jobs=60, sessions=True)).curves
    assert curves is not None
    assert curves.share(3 * DAY, 8) > curves.share(3 * DAY, 0) + 0.1


def test_only_matured_positives_count_but_everyones_answers_do() -> None:
    known = drawn(4, 2_000, jobs=50)
    later = np.concatenate([known.applied_at, [START + 59 * DAY] * 500])
    longer = history(
        np.concatenate([known.rows.jobs.of, np.zeros(500, np.int64)]),
        later,
        np.concatenate([known.answered_at, later[-500:] + 1]),
        np.concatenate([known.rows.value, np.ones(500)]),
        np.concatenate([known.matured, np.zeros(500, np.bool_)]),
    )
    ours, theirs = fit_curves(longer).curves, fit_curves(known).curves
    assert ours is not None
    assert theirs is not None
    assert (ours.ages, ours.by_age) == (theirs.ages, theirs.by_age)


def test_with_too_few_positives_there_are_no_curves_and_it_says_so() -> None:
    known = drawn(5, 100, jobs=10)
    fitted = fit_curves(known)
    assert fitted.curves is None
    assert f"{fitted.positives} positives where {FEWEST_POSITIVES} are needed" in fitted.reason
    assert "the rule later-response" in fitted.reason


def test_with_too_few_that_saw_others_answered_the_age_alone_counts_and_it_says_so() -> None:
    fitted = fit_curves(drawn(6, 900, jobs=900))
    assert fitted.curves is not None
    assert "by age alone" in fitted.reason


table = st.integers(1, 3).flatmap(
    lambda rows: st.integers(1, 4).flatmap(
        lambda columns: st.lists(
            st.tuples(st.floats(0, 1), st.floats(0.5, 10)), min_size=rows * columns, max_size=rows * columns
        ).map(lambda cells: np.array(cells).reshape(rows, columns, 2))
    )
)


@settings(max_examples=40)
@given(table)
def test_the_nearest_table_that_never_falls_is_the_one_that_scipy_finds(cells: Floats) -> None:
    values, weights = cells[:, :, 0], cells[:, :, 1]
    ours = never_falling(values, weights)
    assert (np.diff(ours, axis=0) >= 0).all()
    assert (np.diff(ours, axis=1) >= 0).all()
    rows, columns = values.shape
    number = np.arange(values.size).reshape(rows, columns)
    pairs = [*zip(number[:-1].ravel(), number[1:].ravel(), strict=True)]
    pairs += [*zip(number[:, :-1].ravel(), number[:, 1:].ravel(), strict=True)]
    rises = np.zeros((len(pairs), values.size))
    for row, (lower, higher) in enumerate(pairs):
        rises[row, lower], rises[row, higher] = -1.0, 1.0
    theirs = minimize(
        lambda flat: (weights.ravel() * (flat - values.ravel()) ** 2).sum(),
        values.ravel(),
        jac=lambda flat: 2 * weights.ravel() * (flat - values.ravel()),
        constraints=[LinearConstraint(rises, 0, np.inf)] if pairs else [],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    ).x
    assert ours.ravel() == pytest.approx(theirs, abs=1e-4)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.5, 10)), min_size=1, max_size=20))
def test_one_row_is_the_isotonic_regression_of_scikit_learn(cells: list[tuple[float, float]]) -> None:
    values, weights = np.array(cells).T
    theirs = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    assert never_falling(values[np.newaxis], weights[np.newaxis])[0] == pytest.approx(theirs, abs=1e-8)
