"""What a worker counts and logs of drift: of what was committed, and a warning a day."""

import logging

import numpy as np
import pytest

from stream_qa.learning.drift import APPLICATIONS, Feature, Seen
from stream_qa.learning.profile import Profile, SideProfile
from stream_qa.stages.state import Outcome
from stream_qa.streaming.drift_log import DriftLog
from stream_qa.streaming.lane import Work
from stream_qa.streaming.metrics import Counts

NOW = 1_767_571_200_000
DAY = 86_400_000
PROFILE = Profile(
    SideProfile.of(np.arange(10.0).reshape(10, 1), ["experience"]),
    SideProfile.of(np.zeros((10, 1)), ["pay"]),
    positive_share=0.5,
    ages=np.array([], np.int64),
    answered=np.array([]),
)


def seen(*experience: float) -> Seen:
    """Return some applications, by their members' experience."""
    return Seen(0, PROFILE, [b"[%f]" % one for one in experience], [b"[0]"] * len(experience), [1, 0, 1, 0, 0], [7, 9])


def changed() -> Seen:
    return seen(*[99.0] * APPLICATIONS)


def test_a_transaction_counts_what_its_chunks_have() -> None:
    counts = Counts("dead-letters")
    outcome = Outcome({}, [], seen=[seen(99, 99, 99), seen(5, 5, 5, 5)])
    counts.committed([("label", Work({}, [], {}, 7, outcome=outcome))], {}, 0.01, NOW)
    counts.committed([("member", Work({}, [], {}, 7))], {}, 0.01, NOW)
    counted = counts.drift.counted(NOW)
    assert counted.applications == 7
    assert counted.outside == {Feature("member", "experience"): 3, Feature("job", "pay"): 0}
    assert counted.closed == {"positive": 4, "negative": 6}


def test_what_is_found_is_warned_of_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    drift = DriftLog()
    with caplog.at_level(logging.WARNING):
        for hours in range(30):
            drift.take(changed(), NOW + hours * DAY // 24)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert all("feature 'experience' of the member: 99 to 99, in training 0 to 9" in line for line in said)


def test_nothing_is_said_of_what_is_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    drift, random = DriftLog(), np.random.default_rng(1)
    drift.take(seen(*random.integers(0, 10, APPLICATIONS).tolist()), NOW)
    assert caplog.records == []
    too_far = drift.counted(NOW).distances.too_far
    assert too_far == {Feature("member", "experience"): False, Feature("job", "pay"): False}


def test_what_waits_to_be_counted_is_warned_of_when_metrics_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    drift = DriftLog()
    for _ in range(2):
        drift.take(seen(*[99.0] * (APPLICATIONS // 2 - 1)), NOW)
    assert drift.counted(NOW).applications == APPLICATIONS - 2
    drift.take(seen(99.0, 99.0), NOW)
    assert caplog.records == []
    drift.counted(NOW)
    assert len(caplog.records) == 1
