"""What a profile says of the training's data and a sample of later data, against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stream_qa.learning.arrays import Floats
from stream_qa.learning.profile import AnswerSample, FeatureSample, Profile, SideProfile

features = arrays.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.integers(-3, 3).map(float))


def profile(member: Floats, job: Floats) -> Profile:
    return Profile(
        SideProfile.of(member, ["a", "b"]),
        SideProfile.of(job, ["a", "b"]),
        positive_share=0.5,
        ages=np.array([0, 10, 100]),
        answered=np.array([0.1, 0.5, 1.0]),
    )


def test_it_has_the_range_of_each_feature_and_the_shares_up_to_its_deciles() -> None:
    numbers = np.arange(1.0, 11.0)
    side = SideProfile.of(np.stack([numbers, np.where(numbers > 3, 7.0, 0.0)], axis=1), ["rising", "two values"])
    assert (side.least.tolist(), side.most.tolist()) == ([1.0, 0.0], [10.0, 7.0])
    assert side.edges.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0, 7, 7, 7, 7, 7, 7]]
    at_most, below = side.up_to[0]
    assert at_most == pytest.approx(np.arange(1, 10) / 10)
    assert below == pytest.approx(np.arange(9) / 10)
    assert side.up_to[1].tolist() == [[0.3] * 3 + [1] * 6, [0] * 3 + [0.3] * 6]


def test_values_outside_of_the_range_are_counted_and_its_ends_are_not() -> None:
    side = SideProfile.of(np.array([[0.0], [10.0]]), ["one"])
    sample = side.sample(np.array([[-0.1], [0.0], [10.0], [10.1], [1e308]]))
    assert sample.outside.tolist() == [3]
    assert (sample.least.tolist(), sample.most.tolist()) == ([-0.1], [1e308])


@given(features, features)
def test_a_distance_is_at_most_that_of_kolmogorov_and_smirnov_and_near_it(then: Floats, now: Floats) -> None:
    side = SideProfile.of(then, ["a", "b"])
    distances = np.abs(side.sample(now).up_to / len(now) - side.up_to).max(axis=(1, 2))
    for number, distance in enumerate(distances.tolist()):
        exact = max(
            abs(np.mean(then[:, number] <= value) - np.mean(now[:, number] <= value))
            for value in [*then[:, number].tolist(), *now[:, number].tolist()]
        )
        # Between two edges, and above the last, there is at most a tenth of the training's values.
        assert exact - 0.1 - 1e-12 <= distance <= exact + 1e-12


@given(features, features, features, st.lists(st.integers(0, 200)), st.lists(st.integers(0, 200)))
def test_samples_are_sums(then: Floats, one: Floats, other: Floats, after: list[int], later: list[int]) -> None:
    known = profile(then, then)
    whole = known.features(np.concatenate([one, other]), np.concatenate([other, one]))
    parts = known.features(one, other).plus(known.features(other, one))
    assert whole.applications == parts.applications == len(one) + len(other)
    for side in ("member", "job"):
        for ours, theirs in zip(getattr(whole, side), getattr(parts, side), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    answers = known.answers(np.array(after, np.int64)).plus(known.answers(np.array(later, np.int64)))
    assert answers.answers == len(after) + len(later)
    assert answers.answered.tolist() == [sum(age <= bound for age in after + later) for bound in (0, 10, 100)]


def test_nothing_adds_nothing() -> None:
    known = profile(np.ones((1, 2)), np.ones((1, 2)))
    nothing = known.features(np.empty((0, 2)), np.empty((0, 2)))
    something = known.features(np.full((3, 2), 2.0), np.full((3, 2), 2.0))
    added = FeatureSample.plus(nothing, something)
    assert added.applications == 3
    assert (added.member.least.tolist(), added.member.most.tolist()) == ([2.0, 2.0], [2.0, 2.0])
    assert AnswerSample.plus(known.answers(np.array([], np.int64)), known.answers(np.array([5]))).answers == 1
