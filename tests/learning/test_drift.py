"""What is found to be no longer as in training, and when."""

from collections.abc import Callable

import numpy as np
import orjson
import pytest

from stream_qa.learning.arrays import Floats
from stream_qa.learning.drift import ANSWERS, APPLICATIONS, LABELS, About, DriftWatch, Feature, Finding, Seen
from stream_qa.learning.profile import Profile, SideProfile

HOUR = 3_600_000
MEMBER = ("experience", "distance")
JOB = ("pay", "remote")


def drawn(random: np.random.Generator, count: int) -> Floats:
    """Return features of which one varies and one is 1 in a sixth of all cases."""
    return np.stack([random.normal(3.0, 1.0, count), (random.random(count) < 1 / 6).astype(float)], axis=1)


@pytest.fixture(scope="module")
def trained() -> Profile:
    random = np.random.default_rng(0)
    ages = (np.arange(1, 11) * HOUR).astype(np.int64)
    return Profile(
        SideProfile.of(drawn(random, 20_000), MEMBER),
        SideProfile.of(drawn(random, 20_000), JOB),
        positive_share=0.3,
        ages=ages,
        answered=np.arange(1, 11) / 10,
    )


def later(
    profile: Profile,
    member: Floats,
    job: Floats,
    *,
    labels: int = 0,
    positives: int = 0,
    after: tuple[float, ...] = (),
    number: int = 1,
) -> Seen:
    return Seen(
        number,
        profile,
        [orjson.dumps(row) for row in member.tolist()],
        [orjson.dumps(row) for row in job.tolist()],
        [1] * positives + [0] * (labels - positives),
        [round(hours * HOUR) for hours in after],
    )


def none(profile: Profile, **fields: object) -> Seen:
    return later(profile, np.empty((0, 2)), np.empty((0, 2)), **fields)  # type: ignore[arg-type]


def judged(watch: DriftWatch, seen: Seen) -> list[Finding]:
    """Return what is found with it, all counted."""
    return [*watch.take(seen), *watch.count()]


def about(findings: list[Finding]) -> list[About]:
    return [finding.about for finding in findings]


def test_data_like_those_of_the_training_are_fine(trained: Profile) -> None:
    random, watch = np.random.default_rng(1), DriftWatch()
    for _ in range(20):
        assert judged(watch, later(trained, drawn(random, 500), drawn(random, 500))) == []
    hours = tuple((random.random(ANSWERS) * 10).tolist())
    assert judged(watch, none(trained, labels=LABELS, positives=int(LABELS * 0.31), after=hours)) == []
    assert set(watch.distances.too_far.values()) == {False}
    assert len(watch.distances.too_far) == len(MEMBER) + len(JOB) + 2


def scaled(features: Floats) -> Floats:
    return features * [1.0, 1_000.0]


def in_thousands(features: Floats) -> Floats:
    return features / [1_000.0, 1.0]


def constant(features: Floats) -> Floats:
    return features * [1.0, 0.0]


def shifted(features: Floats) -> Floats:
    return np.add(features, [2.0, 0.0])


@pytest.mark.parametrize(
    ("change", "number", "said"),
    [
        (scaled, 1, "0 to 1000, in training 0 to 1"),
        (in_thousands, 0, "in training -"),
        (constant, 1, "0 to 0, in training 0 to 1"),
        (shifted, 0, "the two distributions are 0."),
    ],
)
@pytest.mark.parametrize("side", ["member", "job"])
def test_a_feature_that_is_another_is_named(
    trained: Profile, side: str, change: Callable[[Floats], Floats], number: int, said: str
) -> None:
    random, watch = np.random.default_rng(2), DriftWatch()
    features = {"member": drawn(random, APPLICATIONS), "job": drawn(random, APPLICATIONS)}
    features[side] = change(features[side])
    [found] = judged(watch, later(trained, features["member"], features["job"]))
    name = (MEMBER if side == "member" else JOB)[number]
    assert found.about == Feature(side, name)  # type: ignore[arg-type] # one of the two
    assert f"feature {name!r} of the {side}" in found.said
    assert said in found.said
    assert watch.distances.features[found.about] > 0.05


def test_nothing_is_said_before_there_are_enough(trained: Profile) -> None:
    random, watch = np.random.default_rng(3), DriftWatch()
    few = scaled(drawn(random, APPLICATIONS - 1))
    assert judged(watch, later(trained, few, few)) == []
    assert judged(watch, none(trained, labels=LABELS - 1, positives=0, after=(99.0,) * (ANSWERS - 1))) == []
    assert watch.distances.too_far == {}
    one = scaled(drawn(random, 1))
    assert about(judged(watch, later(trained, one, one, labels=1, after=(99.0,)))) == [
        Feature("member", "distance"),
        Feature("job", "remote"),
        "positives",
        "answers",
    ]


def test_what_was_judged_does_not_count_again(trained: Profile) -> None:
    random, watch = np.random.default_rng(4), DriftWatch()
    good = drawn(random, APPLICATIONS)
    assert judged(watch, later(trained, scaled(good), good, labels=LABELS, positives=0)) != []
    assert judged(watch, later(trained, good, good, labels=LABELS, positives=int(LABELS * 0.3))) == []
    assert set(watch.distances.too_far.values()) == {False}


@pytest.mark.parametrize(("share", "found"), [(0.1, True), (0.2, False), (0.4, False), (0.5, True)])
def test_another_share_of_positives_is_found(trained: Profile, share: float, found: bool) -> None:
    watch = DriftWatch()
    findings = judged(watch, none(trained, labels=LABELS, positives=int(LABELS * share)))
    assert about(findings) == (["positives"] if found else [])
    assert watch.distances.positives == pytest.approx(share - 0.3)


@pytest.mark.parametrize(("slower", "found"), [(0.5, True), (1.0, False), (1.1, False), (2.0, True)])
def test_slower_and_faster_answers_are_found(trained: Profile, slower: float, found: bool) -> None:
    random, watch = np.random.default_rng(5), DriftWatch()
    hours = tuple((random.random(ANSWERS) * 10 * slower).tolist())
    findings = judged(watch, none(trained, after=hours))
    assert about(findings) == (["answers"] if found else [])
    if slower == 2.0:
        assert "in training 100%" in findings[0].said
        assert watch.distances.answers == pytest.approx(0.5, abs=0.05)


def test_without_curves_answers_are_not_judged(trained: Profile) -> None:
    bare = Profile(trained.member, trained.job, 0.3, np.array([], np.int64), np.array([], np.float64))
    watch = DriftWatch()
    assert judged(watch, none(bare, after=(99.0,) * 2 * ANSWERS)) == []
    assert watch.distances.answers is None


def test_a_new_model_is_judged_by_its_own_training_alone(trained: Profile) -> None:
    random, watch = np.random.default_rng(6), DriftWatch()
    changed = scaled(drawn(random, APPLICATIONS))
    good = drawn(random, APPLICATIONS)
    assert about(judged(watch, later(trained, changed, good))) == [Feature("member", "distance")]
    retrained = Profile(SideProfile.of(changed, MEMBER), trained.job, 0.3, trained.ages, trained.answered)
    half = APPLICATIONS // 2
    assert judged(watch, later(trained, changed[:half], good[:half], labels=LABELS - 1)) == []
    assert judged(watch, later(retrained, changed[:half], good[:half], number=2)) == []
    assert watch.distances.too_far == {}
    # A partition that has not heard of it yet.
    assert judged(watch, later(trained, changed, good, number=1)) == []
    assert judged(watch, later(retrained, changed[half:], good[half:], number=2)) == []
    assert watch.distances.too_far[Feature("member", "distance")] is False
