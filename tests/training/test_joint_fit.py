"""Global model and both effects together: the optimum that scipy finds for all of them at once."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import penalised_loss, rows, standardised, with_intercept
from scipy.optimize import minimize

from stream_qa.errors import TrainingError
from stream_qa.learning import LinearModel
from stream_qa.learning.arrays import Floats
from stream_qa.training.effect_fit import EffectFit
from stream_qa.training.joint_fit import HyperParameters, JointFit, _Global, fit_jointly
from stream_qa.training.rows import Rows

FIXED_PRIOR = HyperParameters(first_precision=2.0, prior_sweeps=0, most_sweeps=20_000, tolerance=1e-9)


def linear(fit: JointFit) -> LinearModel:
    assert isinstance(fit.global_model, LinearModel)
    return fit.global_model


def design(drawn: Rows, bound: float) -> Floats:
    """Return one large design matrix: of the global model, then of each member, then of each job."""
    of_member, of_job = standardised(drawn.member_features, bound), standardised(drawn.job_features, bound)
    own = np.isnan(drawn.brought)[:, np.newaxis]
    columns = [with_intercept(np.column_stack([of_member, of_job])) * own]
    for entities, features in ((drawn.members, of_job), (drawn.jobs, of_member)):
        of_each = (entities.of == number for number in range(len(entities.ids)))
        columns += [with_intercept(features) * own[:, np.newaxis] for own in of_each]
    return np.column_stack(columns)


@pytest.mark.parametrize("brought", [0.0, 0.5, 1.0])
def test_with_a_fixed_prior_it_is_one_large_penalised_logistic_regression(brought: float) -> None:
    drawn = rows(np.random.default_rng(1), 120, brought=brought)
    fit = fit_jointly(drawn, FIXED_PRIOR)
    features = design(drawn, FIXED_PRIOR.feature_bound)
    precisions = np.full(features.shape[1], FIXED_PRIOR.first_precision)
    precisions[:4] = [1e-6, 1.0, 1.0, 1.0]
    offset = np.nan_to_num(drawn.brought)
    theirs = minimize(
        penalised_loss,
        np.zeros(features.shape[1]),
        args=(features, offset, drawn.value, precisions),
        tol=1e-9,
        options={"maxiter": 5_000},
    ).x
    model = linear(fit)
    ours = [
        model.intercept,
        *model.member_weights,
        *model.job_weights,
        *fit.member.coefficients.ravel(),
        *fit.job.coefficients.ravel(),
    ]
    assert fit.converged
    assert ours == pytest.approx(theirs, abs=2e-3)
    # As good as theirs to the last digits: what is left between them is flat.
    best = penalised_loss(theirs, features, offset, drawn.value, precisions)
    assert penalised_loss(np.array(ours), features, offset, drawn.value, precisions) <= best + 1e-8


def test_scores_of_the_parts_are_those_of_the_fit() -> None:
    drawn = rows(np.random.default_rng(2), 200)
    fit = fit_jointly(drawn, FIXED_PRIOR)
    model = linear(fit)
    total = (
        model.score(drawn.member_features, drawn.job_features)
        + fit.member.score(drawn.members.of, model.job_features.apply(drawn.job_features))
        + fit.job.score(drawn.jobs.of, model.member_features.apply(drawn.member_features))
    )
    parts = [model.intercept, *model.member_weights, *model.job_weights]
    all_parts = np.array([*parts, *fit.member.coefficients.ravel(), *fit.job.coefficients.ravel()])
    assert total == pytest.approx(design(drawn, 5.0) @ all_parts, abs=1e-9)


def test_an_unknown_entity_has_no_effect() -> None:
    fit = fit_jointly(rows(np.random.default_rng(3), 50), FIXED_PRIOR)
    assert fit.member.score(np.array([-1]), np.array([[1.0]])).tolist() == [0.0]


def test_where_every_application_brings_its_score_there_is_no_global_model() -> None:
    model = linear(fit_jointly(rows(np.random.default_rng(4), 50, brought=1.0), FIXED_PRIOR))
    assert [model.intercept, *model.member_weights, *model.job_weights] == [0.0] * 4


def test_a_feature_that_never_changes_has_no_weight() -> None:
    drawn = rows(np.random.default_rng(5), 100)
    drawn.member_features[:, 0] = 7.0
    fit = fit_jointly(drawn, HyperParameters(prior_sweeps=5, most_sweeps=20))
    assert linear(fit).member_weights[0] == 0.0
    assert fit.job.coefficients[:, 1].tolist() == [0.0] * 4


def test_a_feature_that_is_too_large_for_a_mean_is_named() -> None:
    drawn = rows(np.random.default_rng(5), 100)
    drawn.member_features[:, 1] = 1e308
    with pytest.raises(TrainingError, match="member feature 2"):
        fit_jointly(drawn, FIXED_PRIOR)


def test_sweeps_end_and_say_whether_they_have_come_to_rest() -> None:
    drawn = rows(np.random.default_rng(6), 200)
    advanced: list[None] = []
    short = fit_jointly(drawn, HyperParameters(prior_sweeps=3, most_sweeps=3), lambda: advanced.append(None))
    assert (short.sweeps, short.converged, len(advanced)) == (3, False, 3)
    assert fit_jointly(drawn, HyperParameters(prior_sweeps=3, most_sweeps=500)).converged


def test_more_data_of_the_same_kind_gives_the_effects_that_they_were_drawn_from() -> None:
    random = np.random.default_rng(7)
    drawn = rows(random, 20_000, members=200, jobs=100)
    fit = fit_jointly(drawn, HyperParameters())
    # Intercepts are drawn with variance 1, slopes are all 0.
    assert fit.member.precisions[0] == pytest.approx(1.0, rel=0.3)
    assert fit.job.precisions[0] == pytest.approx(1.0, rel=0.3)
    assert fit.member.precisions[1:].min() > 10
    assert fit.job.precisions[1:].min() > 10


def test_what_entities_have_in_common_goes_over_to_the_global_model_and_no_score_changes() -> None:
    drawn = rows(np.random.default_rng(8), 200)
    of_member, of_job = standardised(drawn.member_features, 5.0), standardised(drawn.job_features, 5.0)
    by_all = _Global(drawn, with_intercept(np.column_stack([of_member, of_job])), 1.0)
    by_job = EffectFit(drawn.jobs.of, with_intercept(of_member), drawn.value, np.array([2.0, 3.0, 4.0]))
    by_job.step(by_all.log_odds)

    def scores() -> Floats:
        of_all = with_intercept(np.column_stack([of_member, of_job])) @ by_all.weights
        return np.asarray(of_all + (by_job.coefficients[drawn.jobs.of] * with_intercept(of_member)).sum(axis=1))

    before = scores()
    by_all.take_means(by_job, over=np.array([1, 2]))
    assert scores() == pytest.approx(before)
    assert by_all.log_odds + by_job.log_odds == pytest.approx(before)
    # The sum of both penalties is least where its slope along the shift is 0.
    slope = np.array([1e-6, 1.0, 1.0]) * by_all.weights[:3] - by_job.precisions * by_job.coefficients.sum(axis=0)
    assert slope == pytest.approx(np.zeros(3), abs=1e-9)


def test_it_comes_to_rest_soon_because_of_that() -> None:
    drawn = rows(np.random.default_rng(8), 3_000, members=40, jobs=20)
    assert fit_jointly(drawn, replace(FIXED_PRIOR, tolerance=1e-6)).sweeps < 30
