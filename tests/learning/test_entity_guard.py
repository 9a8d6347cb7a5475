"""When one member or job is held back: its account, label by label."""

from collections.abc import Sequence

import numpy as np
from builders import DAY, START
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.learning import AdaptiveSGD
from stream_qa.learning.entity import Records, entity_type, pack_many, unpack_many
from stream_qa.learning.entity_guard import (
    FLOOD_DAYS,
    EntityLabels,
    EntityPolicy,
    is_flooded,
    is_harmful,
    judge_entities,
)

KIND = entity_type(AdaptiveSGD(), 3)
POLICY = EntityPolicy(evidence=24.0, flood=96.0)

Label = tuple[int, float, float, int]
"""Which entity, by how much its part made the score worse, surprise (both nats), moment (ms)."""


def judged(entities: Records, labels: Sequence[Label], policy: EntityPolicy = POLICY) -> list[bool]:
    """Take in labels, and bring what else a step brings up to date."""
    columns = list(zip(*labels, strict=True)) if labels else [()] * 4
    newest_at = entities["newest_at"].copy()
    for entity, *_, happened_at in labels:
        entities["version"][entity] += 1
        entities["newest_at"][entity] = max(entities["newest_at"][entity], happened_at)
    arrays = [np.array(column, kind) for column, kind in zip(columns, (np.int64, float, float, np.int64), strict=True)]
    return [bool(held) for held in judge_entities(policy, entities, newest_at, EntityLabels(*arrays))]


def new(count: int = 2) -> Records:
    return unpack_many(KIND, [None] * count)


def test_one_whose_part_makes_scores_worse_is_held_back_until_it_has_made_up_for_it() -> None:
    entities = new()
    assert judged(entities, [(0, 1.0, 0.0, START)] * 24 + [(1, -1.0, 0.0, START)]) == [False] * 23 + [True, False]
    assert is_harmful(entities).tolist() == [True, False]
    # However bad it was, no more than that is to be won back.
    judged(entities, [(0, 10.0, 0.0, START)] * 9)
    assert judged(entities, [(0, -1.0, 0.0, START)] * 24) == [True] * 23 + [False]
    assert is_harmful(entities).tolist() == [False, False]


def test_one_that_gets_far_more_answers_on_a_day_than_expected_is_held_back_for_two_weeks() -> None:
    entities = new()
    flood = [(0, -1.0, 2.0, START + second * 1_000) for second in range(60)]
    assert judged(entities, flood) == [False] * 47 + [True] * 13
    assert is_flooded(entities).tolist() == [True, False]
    assert judged(entities, [(0, -1.0, 0.0, START + (FLOOD_DAYS - 1) * DAY)]) == [True]
    assert judged(entities, [(0, -1.0, 0.0, START + FLOOD_DAYS * DAY)]) == [False]
    assert is_flooded(entities).tolist() == [False, False]


def test_as_many_answers_over_several_days_are_no_flood() -> None:
    entities = new()
    assert not any(judged(entities, [(0, -1.0, 2.0, START + number * DAY // 40) for number in range(400)]))


def test_answers_of_different_ones_are_no_flood() -> None:
    entities = new(100)
    assert not any(judged(entities, [(number % 100, -1.0, 2.0, START) for number in range(400)]))


def test_nothing_holds_anyone_back_where_no_evidence_is_enough() -> None:
    never = EntityPolicy(0.0, 0.0, 0.0)
    assert not any(judged(new(), [(0, 5.0, 16.0, START)] * 1_000, never))


drawn = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([-3.0, -0.1, 0.0, 0.1, 4.0]),
        st.sampled_from([0.0, 1.3, 16.0]),
        st.sampled_from([START, START - DAY, START + DAY, START + 15 * DAY, START + 40 * DAY]),
    ),
    max_size=60,
)


@given(drawn, st.lists(st.integers(0, 60), max_size=4))
def test_any_cut_into_chunks_gives_the_same_account(labels: list[Label], cuts: list[int]) -> None:
    whole, cut, held = new(), new(), []
    expected = judged(whole, labels)
    ends = [*sorted(cuts), len(labels)]
    for start, end in zip([0, *ends], ends, strict=False):
        cut = unpack_many(KIND, pack_many(cut))
        held += judged(cut, labels[start:end])
    assert cut.tobytes() == whole.tobytes()
    assert held == expected


def test_a_record_from_before_there_were_accounts_has_done_no_harm() -> None:
    before = new(1)
    before["version"], before["labels"], before["newest_at"], before["model"] = 7, 5, START, 3
    (packed,) = pack_many(before)
    read = unpack_many(KIND, [b"\x03" + packed[1:]])
    assert read.tobytes() == before.tobytes()
    assert pack_many(read) == [packed]
    assert not (is_harmful(read) | is_flooded(read)).any()
