"""Applicant ranking: by score and always the same, unless exploration is asked for."""

import math
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.products import ranking

pools = st.dictionaries(st.text(max_size=3), st.integers(-3, 3).map(float), max_size=20)


def ranked(pool: dict[str, float], exploration: float = 0.0, seed: str = "") -> list[str]:
    members = list(pool)
    order = ranking(np.array(list(pool.values()), np.float64), members, exploration, seed)
    return [members[position] for position in order]


def test_the_best_score_is_first_and_equal_scores_stand_in_the_order_of_their_ids() -> None:
    assert ranked({"d": 0.5, "b": 1.0, "c": 1.0, "a": -2.0}) == ["b", "c", "d", "a"]


@given(pools, st.randoms(use_true_random=False), st.sampled_from([0.0, 1.0]))
def test_the_order_does_not_depend_on_that_in_which_applicants_are_given(
    pool: dict[str, float], random: Random, exploration: float
) -> None:
    members = list(pool)
    random.shuffle(members)
    assert ranked({member: pool[member] for member in members}, exploration) == ranked(pool, exploration)


@given(pools, st.text(max_size=3))
def test_exploration_gives_everybody_a_place_and_a_seed_the_same_places(pool: dict[str, float], seed: str) -> None:
    first = ranked(pool, 2.0, seed)
    assert sorted(first) == sorted(pool)
    assert first == ranked(pool, 2.0, seed)


def test_two_seeds_draw_differently() -> None:
    pool = {f"m-{number}": 0.0 for number in range(20)}
    assert ranked(pool, 1.0, "monday") != ranked(pool, 1.0, "tuesday")


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_first_is_drawn_with_a_chance_proportional_to_the_exponential_of_its_score(temperature: float) -> None:
    pool = {"a": 0.0, "b": 0.5, "c": 1.0}
    draws = 4_000
    firsts = Counter(ranked(pool, temperature, str(seed))[0] for seed in range(draws))
    total = sum(math.exp(score / temperature) for score in pool.values())
    for member, score in pool.items():
        chance = math.exp(score / temperature) / total
        # Five standard deviations: the draws are functions of the seeds, so this passes always or never.
        assert abs(firsts[member] / draws - chance) < 5 * math.sqrt(chance * (1 - chance) / draws)


def test_little_exploration_leaves_clear_differences_alone() -> None:
    pool = {"a": 3.0, "b": 0.0, "c": -3.0}
    assert {tuple(ranked(pool, 0.05, str(seed))) for seed in range(100)} == {("a", "b", "c")}
