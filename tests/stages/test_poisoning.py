"""What the poisoning table claims, at small size; and that good logs are left alone."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stream_qa.simulation import EventLog, Marketplace, simulate

MARKET = Marketplace(members=300, jobs=60, days=28, applications=4_000, features=4)
SINCE = MARKET.start + 14 * 86_400_000
JOB_FEATURE = "a job feature times 1,000"
FLIPPED = "all labels flipped"
FLOODED = "one job flooded with answers"


@pytest.fixture(scope="module", autouse=True)
def _one_partition(poisoning: ModuleType) -> None:
    """Let the benchmark have one partition: small logs have few labels."""
    poisoning.PARTITIONS = 1  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def truth() -> EventLog:
    """Give a small marketplace."""
    return simulate(MARKET, np.random.default_rng(3))


@pytest.mark.parametrize(
    ("attack", "said", "held"),
    [
        ("none", set(), set()),
        (FLIPPED, {("member-0", "labels"), ("job-0", "labels")}, set()),
        (JOB_FEATURE, {("member-0", "harm")}, set()),
        (FLOODED, set(), {"flood"}),
        ("a member feature NaN in half", set(), set()),
    ],
)
def test_an_attack_is_noticed_and_a_good_log_is_left_alone(
    poisoning: ModuleType,
    truth: EventLog,
    tmp_path: Path,
    *,
    attack: str,
    said: set[tuple[str, str]],
    held: set[str],
) -> None:
    events = list(truth.events())
    changed = poisoning.ATTACKS[attack](events, SINCE, np.random.default_rng(0))
    row = poisoning.attacked(truth, changed, SINCE, tmp_path)
    stops = {
        (place, "labels" if "labels are not" in notice else "harm")
        for place, _, notice in row.found.said
        if notice.startswith("no coefficients")
    }
    assert stops == said
    assert {why for *_, why in row.found.held} >= held
    if not held:
        assert row.found.held == []
    # Input that is no number does not even become a label.
    assert bool(row.dead_letters) == ("NaN" in attack)
    if not said and not held:
        assert row.scores == row.without


@pytest.mark.shared_data
@pytest.mark.timeout(3_600)
def test_on_years_of_pull_requests_no_side_is_ever_stopped(poisoning: ModuleType, pull_requests: Path) -> None:
    found = poisoning.said_of(pull_requests, None)
    assert [notice for *_, notice in found.said if notice.startswith("no coefficients")] == []
