import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from stream_qa.errors import ConfigurationError
from stream_qa.events import Application, Engagement
from stream_qa.simulation import EventLog, Marketplace, simulate
from stream_qa.simulation.effects import drifting_log_odds
from stream_qa.simulation.marketplace import DEFAULT_START
from stream_qa.simulation.recruiters import KINDS

DAY = 24 * 60 * 60 * 1000
SMALL = Marketplace(members=60, jobs=25, days=30, applications=600, features=4)


@pytest.fixture(scope="module")
def log() -> EventLog:
    return simulate(Marketplace(), np.random.default_rng(0))


def _log_odds(log: EventLog) -> NDArray[np.float64]:
    return log.global_log_odds + log.member_log_odds + log.job_log_odds


def test_the_same_seed_gives_the_same_history_and_another_seed_another() -> None:
    first, again, other = (list(simulate(SMALL, np.random.default_rng(seed)).events()) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_nothing_draws_from_the_global_generator() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    simulate(SMALL, np.random.default_rng(0))
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002


def test_the_default_has_the_size_and_the_skew_it_says(log: EventLog) -> None:
    assert log.applied_at.size == pytest.approx(31_700, rel=0.02)
    assert log.applied_at.min() >= DEFAULT_START
    assert log.applied_at.max() < DEFAULT_START + 84 * DAY
    of_job = np.bincount(log.job, minlength=1_000)
    of_member = np.bincount(log.member, minlength=2_400)
    assert 17 <= np.median(of_job) <= 29
    assert 7 <= np.median(of_member) <= 13
    most_sought = np.sort(of_job)[-100:].sum()
    assert 0.25 <= most_sought / log.applied_at.size <= 0.6


def test_nobody_applies_to_a_job_twice(log: EventLog) -> None:
    assert np.unique(log.member * 1_000 + log.job).size == log.applied_at.size


def test_members_and_jobs_come_and_go(log: EventLog) -> None:
    first, last = log.applied_at < DEFAULT_START + 14 * DAY, log.applied_at > DEFAULT_START + 70 * DAY
    for entity in (log.member, log.job):
        early, late = set(entity[first].tolist()), set(entity[last].tolist())
        # A stay is 60 days at most: who is there at the beginning has nearly always gone by the end.
        assert len(early & late) < 0.1 * min(len(early), len(late))


def test_a_quarter_is_positive_and_a_third_of_the_rest_rejected(log: EventLog) -> None:
    assert 0.24 <= log.outcome.mean() <= 0.26
    rejected = log.engagements.application[log.engagements.kind == KINDS.index("rejected")]
    assert not log.outcome[rejected].any()
    assert rejected.size / np.count_nonzero(~log.outcome) == pytest.approx(1 / 3, abs=0.02)


def test_every_positive_outcome_and_no_other_has_a_positive_engagement(log: EventLog) -> None:
    positive = log.engagements.kind != KINDS.index("rejected")
    assert set(log.engagements.application[positive].tolist()) == set(np.flatnonzero(log.outcome).tolist())


def test_delays_of_the_first_positive_engagement(log: EventLog) -> None:
    delays = np.array([(row["positive_at"] - row["applied_at"]) / DAY for row in log.truth() if row["outcome"]])  # type: ignore[operator]
    within = {days: float((delays <= days).mean()) for days in (1, 3, 7, 14)}
    # Measured over three seeds: .301, .635, .909, .985.
    assert within == pytest.approx({1: 0.31, 3: 0.63, 7: 0.89, 14: 0.99}, abs=0.03)
    assert 0.003 <= 1 - within[14] <= 0.03
    assert delays.min() > 0
    assert delays.max() < 120


def test_recruiters_answer_on_working_days_and_several_at_a_time(log: EventLog) -> None:
    # Wait out the day: DEFAULT_START is a Monday, so days 5 and 6 of a week are the weekend.
    first_answers = ~np.isin(log.engagements.kind, [KINDS.index("interview"), KINDS.index("offer")])
    moments = log.engagements.engaged_at[first_answers] - DEFAULT_START
    assert not np.any(moments // DAY % 7 >= 5)
    hour = moments % DAY / (DAY / 24)
    assert hour.min() >= 8
    assert hour.max() < 18.2
    job = log.job[log.engagements.application[first_answers]]
    sessions = np.unique(np.stack([job, moments // DAY]), axis=1).shape[1]
    assert moments.size / sessions > 1.5


def test_probabilities_are_calibrated(log: EventLog) -> None:
    probability = 1 / (1 + np.exp(-_log_odds(log)))
    np.testing.assert_allclose(probability, log.probability, rtol=1e-12)
    # Deciles of predicted probability: each observed rate within four standard errors of what was promised.
    for rows in np.array_split(np.argsort(probability), 10):
        expected = probability[rows].mean()
        error = np.sqrt((probability[rows] * (1 - probability[rows])).sum()) / rows.size
        assert abs(log.outcome[rows].mean() - expected) < 4 * error


def test_the_effects_matter(log: EventLog) -> None:
    of_global = roc_auc_score(log.outcome, log.global_log_odds)
    with_members = roc_auc_score(log.outcome, log.global_log_odds + log.member_log_odds)
    with_jobs = roc_auc_score(log.outcome, log.global_log_odds + log.job_log_odds)
    of_truth = roc_auc_score(log.outcome, _log_odds(log))
    # Measured .628, .752, .756 and .850.
    assert 0.58 < of_global < 0.68
    assert min(with_members, with_jobs) > of_global + 0.05
    assert of_truth > max(with_members, with_jobs) + 0.05


def test_an_effect_has_the_prior_s_variance_and_forgets_by_half_in_a_half_life() -> None:
    entities, half_life = 40_000, 35 * DAY
    entity = np.tile(np.arange(entities), 3)
    applied_at = np.repeat(np.array([0, half_life, 3 * half_life]), entities)
    features = np.tile([1.0, 0.0], (entity.size, 1))
    drawn = drifting_log_odds(
        entity,
        applied_at,
        features=features,
        precision=np.array([4.0, 8.0, 16.0]),
        half_life=half_life,
        generator=np.random.default_rng(1),
    ).reshape(3, entities)
    # Intercept and first slope: variance 1/4 + 1/8. The third coefficient meets a feature of 0.
    np.testing.assert_allclose(drawn.var(axis=1), 0.375, rtol=0.04)
    correlation = np.asarray(np.corrcoef(drawn))
    assert correlation[0, 1] == pytest.approx(0.5, abs=0.02)
    assert correlation[1, 2] == pytest.approx(0.25, abs=0.02)
    assert correlation[0, 2] == pytest.approx(0.125, abs=0.02)


def test_an_effect_stays_when_no_time_passes() -> None:
    drawn = drifting_log_odds(
        np.array([0, 1, 0, 0]),
        np.array([7, 7, 7, 7]),
        features=np.full((4, 1), 2.0),
        precision=np.array([1.0, 1.0]),
        half_life=1.0,
        generator=np.random.default_rng(1),
    )
    assert drawn[0] == drawn[2] == drawn[3]
    assert drawn[0] != drawn[1]


def test_events_are_messages_in_the_order_of_event_time(log: EventLog) -> None:
    applied: dict[str, Application] = {}
    engagement_ids = set()
    previous = 0
    for event in log.events():
        fields = {name: value for name, value in event.items() if name != "type"}
        moment = event["applied_at" if event["type"] == "application" else "engaged_at"]
        assert isinstance(moment, int)
        assert moment >= previous
        previous = moment
        if event["type"] == "application":
            application = Application.model_validate(fields)
            assert len(application.member_features) == len(application.job_features) == 16
            assert application.feature_schema == "simulation-16"
            assert application.global_log_odds is not None
            applied[application.application_id] = application
        else:
            engagement = Engagement.model_validate(fields)
            assert engagement.job_id == applied[engagement.application_id].job_id
            assert engagement.engaged_at > applied[engagement.application_id].applied_at
            engagement_ids.add(engagement.engagement_id)
        assert set(fields) <= set((Application if event["type"] == "application" else Engagement).model_fields)
    assert len(applied) == log.applied_at.size
    # As many ids as engagements: none is used twice.
    assert len(engagement_ids) == log.engagements.kind.size


def test_features_vary_as_standard_normal_ones_and_go_together(log: EventLog) -> None:
    assert log.job_features.std() == pytest.approx(1, abs=0.05)
    assert log.member_features.std() == pytest.approx(1, abs=0.1)
    correlation = np.asarray(np.corrcoef(log.job_features.T))
    assert np.abs(correlation[~np.eye(16, dtype=bool)]).max() > 0.15


@pytest.mark.parametrize(
    "changes",
    [
        {"members": 0},
        {"jobs": 0},
        {"days": 0},
        {"applications": 0},
        {"features": 0},
        {"features": 1_025},
        {"start": -1},
        {"start": 253_402_300_799_999},
        {"positive_share": 1.0},
        {"half_life_days": 0.0},
    ],
)
def test_what_cannot_be_simulated_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Marketplace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_the_positive_share_is_what_was_asked_for(share: float) -> None:
    marketplace = Marketplace(members=800, jobs=300, days=40, applications=8_000, features=3, positive_share=share)
    outcome = simulate(marketplace, np.random.default_rng(2)).outcome
    assert abs(outcome.mean() - share) < 4 * np.sqrt(share * (1 - share) / outcome.size)


def test_a_saturated_marketplace_has_fewer_applications_than_asked_for() -> None:
    log = simulate(Marketplace(members=5, jobs=4, days=200, applications=1_000), np.random.default_rng(0))
    assert 0 < log.applied_at.size <= 20
    assert len(list(log.truth())) == log.applied_at.size
