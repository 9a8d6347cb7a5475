"""The gate: a candidate passes only if the 95% interval of its improvement lies above the margin."""

import numpy as np
import pytest

from stream_qa.learning import probability
from stream_qa.learning.metrics import log_loss
from stream_qa.retraining.gate import Gate, Trial, judge

GATE = Gate(margin=0.001, least_applications=100, least_of_a_label=10)


def trial(noise: float, *, applications: int = 4_000, jobs: int = 40, seed: int = 0) -> Trial:
    """Return a trial whose incumbent is off by ``noise`` from log-odds that the candidate knows."""
    random = np.random.default_rng(seed)
    truth = random.normal(-1.0, 1.0, applications)
    value = (random.random(applications) < probability(truth)).astype(np.float64)
    incumbent = truth + noise * random.normal(0.0, 1.0, applications)
    return Trial(value, random.integers(0, jobs, applications), incumbent, truth)


def swapped(found: Trial) -> Trial:
    return Trial(found.value, found.job, found.candidate, found.incumbent)


def test_a_better_candidate_passes_and_the_figures_are_those_of_the_trial() -> None:
    found = trial(0.8)
    judgement = judge(found, GATE)
    assert judgement.is_better
    assert judgement.improvement_low > GATE.margin
    losses = log_loss(found.value, found.incumbent), log_loss(found.value, found.candidate)
    assert (judgement.incumbent.log_loss, judgement.candidate.log_loss) == losses
    assert judgement.improvement == pytest.approx(losses[0] - losses[1])
    assert (judgement.applications, judgement.positives, judgement.jobs) == (4_000, int(found.value.sum()), 40)


def test_a_worse_one_and_an_equal_one_do_not() -> None:
    assert not judge(swapped(trial(0.8)), GATE).is_better
    equal = trial(0.0)
    judgement = judge(equal, GATE)
    assert not judgement.is_better
    assert (judgement.improvement, judgement.improvement_low, judgement.improvement_high) == (0.0, 0.0, 0.0)


def test_better_by_less_than_the_margin_is_not_better() -> None:
    found = trial(0.8)
    low = judge(found, GATE).improvement_low
    assert judge(found, Gate(low - 1e-9, 100, 10)).is_better
    assert not judge(found, Gate(low, 100, 10)).is_better


def test_better_by_chance_is_not_better() -> None:
    """A candidate that is lucky on one large job."""
    random = np.random.default_rng(1)
    job = np.concatenate([np.zeros(600, np.int64), random.integers(1, 40, 3_400)])
    value = (random.random(4_000) < 0.3).astype(np.float64)
    incumbent = np.full(4_000, -0.85)
    candidate = incumbent + np.where(job == 0, 1.0, 0.0) * (2 * value - 1)
    judgement = judge(Trial(value, job, incumbent, candidate), GATE)
    assert judgement.improvement > 10 * GATE.margin
    assert not judgement.is_better


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (Gate(0.001, 4_001, 10), "4000 applications are held back, where 4001 are needed"),
        (Gate(0.001, 100, 2_000), "labels of a kind are held back, where 2000 are needed"),
    ],
)
def test_too_little_decides_nothing(gate: Gate, said: str) -> None:
    judgement = judge(trial(0.8), gate)
    assert not judgement.is_better
    assert said in judgement.reason


@pytest.mark.parametrize(("jobs", "enough"), [(1, False), (19, False), (20, True)])
def test_what_a_few_jobs_say_is_not_sure(jobs: int, enough: bool) -> None:
    """Draws of one job are always that one: the interval has no width at all."""
    judgement = judge(trial(2.0, jobs=jobs), GATE)
    assert judgement.improvement_low > GATE.margin
    assert judgement.is_better is enough
    assert enough or judgement.reason == f"applications to {jobs} jobs are held back, where 20 are needed"
