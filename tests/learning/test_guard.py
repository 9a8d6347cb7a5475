"""When publishing stops and goes on: labels as they come, against sums worked out one label at a time."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.errors import StateFormatError
from stream_qa.learning.arrays import Integers
from stream_qa.learning.guard import BLOCK, GuardPolicy, Scored, Standing, notices, sums_of

POLICY = GuardPolicy(evidence=16.0, change=32.0)


class Judged(NamedTuple):
    """One label and its scores."""

    value: int = 1
    weight: float = 1.0
    said: int = -1
    said_weight: float = 0.0
    alone: float = 0.0
    other: float = 0.0
    own: float = 0.0


def sums(labels: Sequence[Judged]) -> Integers:
    return sums_of(Scored(*np.array(labels, np.float64).reshape(-1, len(Judged._fields)).T))


def after(*stretches: Sequence[Judged], policy: GuardPolicy = POLICY) -> Standing:
    standing = Standing()
    for labels in stretches:
        standing.judge(policy, sums(labels))
    return standing


def loss(log_odds: float, value: int) -> float:
    return math.log1p(math.exp(-log_odds if value == 1 else log_odds))


GOOD, BAD, SILENT = Judged(own=1.0), Judged(own=-1.0), Judged(own=0.0)

judged = st.builds(
    Judged,
    st.sampled_from([0, 1]),
    st.sampled_from([0.12, 0.5, 1.0]),
    st.sampled_from([-1, 0, 1]),
    st.sampled_from([0.0, 0.3, 1.0]),
    *[st.floats(-40, 40)] * 3,
)


def test_a_part_that_makes_scores_worse_stops_publishing_until_it_has_made_up_for_it() -> None:
    standing = after([GOOD] * 5 * BLOCK)
    assert standing.reasons == []
    published = standing.judge(POLICY, sums([BAD] * BLOCK))
    assert standing.reasons == ["harm"]
    # The label that fills the block is the first of which the new decision holds.
    assert published.tolist() == [True] * (BLOCK - 1) + [False]
    a_little_good = Judged(own=0.1)
    # 16 nats, 128 labels each of which wins back 0.048 + 0.01: three blocks.
    published = standing.judge(POLICY, sums([a_little_good] * 3 * BLOCK))
    assert published.tolist() == [False] * (3 * BLOCK - 1) + [True]
    assert standing.reasons == []


def test_a_part_that_says_nothing_is_published_again() -> None:
    assert after([BAD] * BLOCK, [SILENT] * 11 * BLOCK).reasons == ["harm"]
    assert after([BAD] * BLOCK, [SILENT] * 13 * BLOCK).reasons == []


def test_two_sides_that_have_both_learned_the_same_are_not_to_blame() -> None:
    # Half of the labels are positive: with one part the score is nearer to that, with both it is past it.
    twice = [Judged(value, alone=-2.0, own=2.0, other=2.5) for value in (0, 1)]
    assert after(twice * 10 * BLOCK).reasons == []
    assert after([label._replace(other=0.5, own=5.0) for label in twice] * 10 * BLOCK).reasons == ["harm"]


def test_a_silence_that_was_taken_for_a_no_is_taken_out_when_the_answer_comes() -> None:
    no, answer = Judged(value=0, own=1.5), Judged(value=1, said=0, said_weight=1.0, own=1.5)
    assert after([no, answer] * 10 * BLOCK).reasons == []
    without = after([Judged(value=1, own=1.5)] * 10 * BLOCK)
    standing = after([no, answer] * 10 * BLOCK)
    for name in ("weight", "outcomes", "alone", "own", "both"):
        # The same labels in twice as many rows: what is recent is half as long.
        assert getattr(standing.recent, name) / standing.recent.weight == pytest.approx(
            getattr(without.recent, name) / without.recent.weight
        )


def test_a_silence_that_counts_more_and_more_counts_once() -> None:
    steps = [Judged(0, 0.25), Judged(0, 0.5, 0, 0.25), Judged(0, 1.0, 0, 0.5), Judged(1, 0.0, 1, 0.0)]
    assert after(steps * BLOCK).recent.alone / after(steps * BLOCK).recent.weight == pytest.approx(
        math.log(2), abs=1e-4
    )


def test_labels_that_change_stop_publishing_until_they_are_what_is_usual() -> None:
    seldom = [Judged(int(number % 4 == 0), alone=-1.1) for number in range(BLOCK)]
    often = [Judged(int(number % 4 != 0), alone=-1.1) for number in range(BLOCK)]
    before = after(seldom * 20)
    assert before.reasons == []
    assert after(seldom * 20, often).reasons == ["labels"]
    assert after(seldom * 20, often * 20).reasons == ["labels"]
    assert after(seldom * 20, often * 300).reasons == []
    assert after(seldom * 20, often, seldom * 3).reasons == []
    # The other way round too.
    assert after(often * 20, seldom).reasons == ["labels"]


def test_late_answers_to_applications_that_come_no_longer_are_no_change() -> None:
    silent, answered = Judged(0, 0.5, alone=-1.1), Judged(1, 1.0, 0, 0.5, alone=-1.1)
    usual = ([silent] * 3 + [answered]) * (BLOCK // 4)
    assert after(usual * 20, [answered] * 20 * BLOCK).reasons == []
    # Where they do come, so many more answers are one.
    assert after(usual * 20, [silent, answered] * 10 * BLOCK).reasons == ["labels"]


@pytest.mark.parametrize("blocks", [16, 32, 64, 128])
def test_half_as_many_applications_are_few_however_short_it_is_that_labels_were_watched(blocks: int) -> None:
    silent, answered = Judged(0, 0.5, alone=-1.1), Judged(1, 1.0, 0, 0.5, alone=-1.1)
    usual = [silent] * 100 + [answered] * 28
    # Applications come half as often, the answers to those before as ever.
    halved = [silent] * 50 + [answered] * 78
    assert after(usual * blocks).usual_new == pytest.approx(100 * min(blocks, 64))
    assert after(usual * blocks, halved * 8).above == 0.0


def test_a_new_model_expects_something_else() -> None:
    seldom = [Judged(int(number % 4 == 0), alone=-1.1) for number in range(BLOCK)]
    often = [Judged(int(number % 4 != 0), alone=-1.1) for number in range(BLOCK)]
    standing = after(seldom * 20)
    standing.take_up(1)
    standing.judge(POLICY, sums(often * 20))
    assert standing.reasons == []


def test_without_evidence_to_ask_for_nothing_stops() -> None:
    never = GuardPolicy(0.0, 0.0)
    assert after([GOOD] * 20 * BLOCK, [BAD] * 20 * BLOCK, policy=never).reasons == []


@given(st.lists(judged, max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_any_cut_into_chunks_gives_the_same_record_and_decisions(labels: list[Judged], cuts: list[int]) -> None:
    labels *= 3
    whole, cut = Standing(), Standing()
    published = whole.judge(POLICY, sums(labels)).tolist()
    ends = [*sorted(cuts), len(labels)]
    found = []
    for start, end in zip([0, *ends], ends, strict=False):
        cut = Standing.unpack(cut.pack())
        found += cut.judge(POLICY, sums(labels[start:end])).tolist()
    assert cut.pack() == whole.pack()
    assert found == published


@given(st.lists(judged, min_size=1, max_size=20))
def test_what_is_recent_is_the_loss_of_each_label_less_what_was_said_before(labels: list[Judged]) -> None:
    labels *= BLOCK
    labels = labels[: BLOCK + 7]
    standing = after(labels)
    for name, parts in (("alone", ()), ("own", ("own",)), ("other", ("other",)), ("both", ("own", "other"))):
        expected = 0.0
        for label in labels[:BLOCK]:
            log_odds = label.alone + sum(getattr(label, part) for part in parts)
            expected += label.weight * min(loss(log_odds, label.value), 16.0)
            expected -= label.said_weight * min(loss(log_odds, max(label.said, 0)), 16.0)
        assert getattr(standing.recent, name) == pytest.approx(expected, abs=0.01)


def test_it_is_said_when_publishing_stops_and_when_it_goes_on() -> None:
    fine, stopped = after([GOOD] * BLOCK), after([BAD] * BLOCK)
    assert notices(fine, stopped) == ["no coefficients are published: what is learned makes scores worse"]
    assert notices(stopped, fine) == ["coefficients are published again, also of those that have moved meanwhile"]
    assert notices(fine, fine) == notices(stopped, stopped) == []


def test_a_record_of_newer_code_is_refused() -> None:
    with pytest.raises(StateFormatError):
        Standing.unpack(b"\xff")
    newer = Standing()
    newer.format = 2
    with pytest.raises(StateFormatError):
        Standing.unpack(newer.pack())
