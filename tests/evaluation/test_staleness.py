"""Coefficients that servers have had for long are worse than those of today, and the more so the older they are."""

from pathlib import Path

import numpy as np
import orjson
import pytest
from builders import DAY, START

from stream_qa.bundle import load_bundle
from stream_qa.durations import HOUR
from stream_qa.evaluation.evaluate import Scored
from stream_qa.evaluation.replayed import replayed
from stream_qa.evaluation.report import staleness_table
from stream_qa.evaluation.staleness import Staleness, staleness
from stream_qa.labels import LabelPolicy
from stream_qa.replay.log import read_log
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.training.history import read_history
from stream_qa.training.joint_fit import HyperParameters
from stream_qa.training.train import train

#: Few members and jobs with strong effects, which are others after some weeks.
MARKET = Marketplace(
    members=250,
    jobs=120,
    days=84,
    applications=13_000,
    features=2,
    half_life_days=28.0,
    intercept_precision=1.0,
    slope_precisions=(2.0, 2.0),
    start=START,
)
TRAINED, SINCE, UNTIL = (START + days * DAY for days in (28, 35, 77))


@pytest.fixture(scope="module")
def ages(tmp_path_factory: pytest.TempPathFactory) -> list[Staleness]:
    """Give what six weeks without anything new cost, by fortnight."""
    directory: Path = tmp_path_factory.mktemp("staleness")
    path = directory / "log.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(event) for event in simulate(MARKET, np.random.default_rng(2)).events()))
    settings = Settings(bundle=directory / "bundle")
    events = read_log([path], settings.topics).events
    history = read_history(
        events, topics=settings.topics, policy=LabelPolicy(), until=TRAINED, max_message_bytes=1_000_000
    )
    fast = HyperParameters(prior_sweeps=10, most_sweeps=30)
    train(history, policy=LabelPolicy(), until=TRAINED, parameters=fast).write(directory / "bundle")
    rows = replayed(
        events,
        pipeline=build_pipeline(settings),
        bundle=load_bundle(directory / "bundle"),
        since=SINCE,
        until=UNTIL,
        longest=HOUR,
    )
    return staleness(rows, Scored.of(rows, rows.final, SINCE), SINCE, days=14)


def test_ages_follow_each_other_and_have_all_applications(ages: list[Staleness]) -> None:
    assert [(age.from_day, age.until_day) for age in ages] == [(0, 14), (14, 28), (28, 42)]
    assert all(age.applications > 1_000 for age in ages)


@pytest.mark.parametrize("frozen", ["members_frozen", "jobs_frozen", "both_frozen"])
def test_what_is_live_is_better_than_what_is_frozen_and_the_gap_grows_with_age(
    ages: list[Staleness], frozen: str
) -> None:
    gaps = [(age.live or 0.0) - getattr(age, frozen) for age in ages]
    assert min(gaps) > 0.01, gaps
    # What is new on the market is soon all that applies and is applied to: the gap of one side need not grow for ever.
    assert gaps[0] < min(gaps[1:]), gaps
    if frozen == "both_frozen":
        assert gaps == sorted(gaps), gaps
        assert gaps[-1] > 1.5 * gaps[0], gaps


def test_to_freeze_both_costs_more_than_to_freeze_one(ages: list[Staleness]) -> None:
    for age in ages[1:]:
        assert age.both_frozen is not None
        assert age.members_frozen is not None
        assert age.jobs_frozen is not None
        assert age.both_frozen < min(age.members_frozen, age.jobs_frozen)


def test_the_table_says_how_far_what_is_frozen_is_from_what_is_live() -> None:
    names, row, alike = staleness_table(
        [Staleness(0, 28, 12, 0.8, 0.79, 0.78, 0.75, 0.7), Staleness(28, 56, 1, None, None, None, None, None)]
    )
    assert names[0] == "days"
    assert row == ["0 to 27", "12", "0.8000", "-0.0100", "-0.0200", "-0.0500", "-0.1000"]
    assert alike == ["28 to 55", "1", "", "", "", "", ""]
