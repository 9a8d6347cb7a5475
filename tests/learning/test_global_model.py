"""The score that is the same for everybody: brought by the application, or the model's."""

from collections.abc import Sequence

import numpy as np
import pytest
from builders import application, read_application
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stream_qa.labels.life_cycle import KnownApplication
from stream_qa.learning import LOG_ODDS_BOUND, BaseRate, GlobalModel, LinearModel, Standardisation
from stream_qa.learning.arrays import Floats

finite = st.floats(allow_nan=False, allow_infinity=False)
MODEL = LinearModel(
    intercept=0.5,
    member_weights=np.array([1.0, -2.0]),
    job_weights=np.array([0.25]),
    member_features=Standardisation(5.0, np.array([0.0, 10.0]), np.array([1.0, 2.0])),
    job_features=Standardisation(5.0, np.array([1.0]), np.array([4.0])),
)


def known(
    member_features: Sequence[float] = (0.5, -1.0), job_features: Sequence[float] = (2.0,), brought: float | None = None
) -> KnownApplication:
    sent = application(member_features=member_features, job_features=job_features, global_log_odds=brought)
    return KnownApplication.of(read_application(sent))


def log_odds(model: GlobalModel, *applications: KnownApplication, of_members: Floats) -> list[float]:
    odds: list[float] = model.log_odds(applications, of_members).tolist()
    return odds


def test_without_a_model_it_is_that_of_the_base_rate() -> None:
    assert log_odds(BaseRate(0.25), known(), of_members=np.array([[0.5, -1.0]])) == [pytest.approx(np.log(1 / 3))]


@pytest.mark.parametrize("model", [BaseRate(0.25), MODEL])
def test_what_an_application_brings_counts_within_the_bound(model: GlobalModel) -> None:
    brought = [known(brought=odds) for odds in (0.75, 1e9, -1e300)]
    odds = log_odds(model, *brought, of_members=np.array([[0.5, -1.0]] * 3))
    assert odds == [0.75, LOG_ODDS_BOUND, -LOG_ODDS_BOUND]


def test_a_linear_model_weighs_standardised_features_of_both_sides() -> None:
    sent = known([3.0, 14.0], [5.0])
    assert log_odds(MODEL, sent, of_members=np.array([[3.0, 14.0]])) == [0.5 + 3.0 - 2.0 * 2.0 + 0.25 * 1.0]


def test_it_is_the_logistic_regression_of_scikit_learn_by_its_coefficients() -> None:
    random = np.random.default_rng(1)
    features = random.normal(2.0, 3.0, (200, 3))
    theirs = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, random.random(200) < 0.5)
    scaler, regression = theirs.named_steps["standardscaler"], theirs.named_steps["logisticregression"]
    model = LinearModel(
        float(regression.intercept_[0]),
        regression.coef_[0, :2],
        regression.coef_[0, 2:],
        Standardisation(100.0, scaler.mean_[:2], scaler.scale_[:2]),
        Standardisation(100.0, scaler.mean_[2:], scaler.scale_[2:]),
    )
    assert model.score(features[:, :2], features[:, 2:]) == pytest.approx(theirs.decision_function(features))


@given(st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=8))
def test_a_score_does_not_depend_on_those_beside_it_and_stays_within_the_bound(
    lines: list[tuple[float, float, float]],
) -> None:
    rows = np.array(lines)
    together = MODEL.score(rows[:, :2], rows[:, 2:]).tolist()
    assert together == [MODEL.score(row[np.newaxis, :2], row[np.newaxis, 2:])[0] for row in rows]
    assert np.abs(together).max() <= LOG_ODDS_BOUND
