"""What stands still: only what has more to do, and only for as long as it was seen to have it."""

import pytest

from stream_qa.streaming.health import Standing, Stillness


def looked(stillness: Stillness, now: float, **standing: tuple[object, bool]) -> dict[str, float]:
    return stillness.look({name: Standing(where, has_more) for name, (where, has_more) in standing.items()}, now)


def test_what_has_more_to_do_and_stays_where_it_is_stands_still_after_the_patience() -> None:
    stillness = Stillness(10)
    assert looked(stillness, 100, lane=(5, True)) == {}
    assert looked(stillness, 109, lane=(5, True)) == {}
    assert looked(stillness, 110, lane=(5, True)) == {"lane": 10}
    assert looked(stillness, 130, lane=(5, True)) == {"lane": 30}


@pytest.mark.parametrize(
    "between",
    [
        {"lane": (6, True)},  # it moves
        {"lane": (5, False)},  # there is nothing to do
        {},  # nobody knows: the broker is away, or the lane is another worker's
    ],
)
def test_time_begins_anew_when_it_moves_has_nothing_to_do_or_is_not_known(between: dict[str, tuple[int, bool]]) -> None:
    stillness = Stillness(10)
    looked(stillness, 100, lane=(5, True))
    looked(stillness, 109, **between)
    where = between.get("lane", (5, True))[0]
    assert looked(stillness, 112, lane=(where, True)) == {}
    assert looked(stillness, 122, lane=(where, True)).keys() == {"lane"}


def test_a_long_time_between_two_looks_is_no_standstill() -> None:
    stillness = Stillness(10)
    looked(stillness, 100, lane=(5, False))
    assert looked(stillness, 4_000, lane=(5, True)) == {}


def test_one_that_moves_does_not_hide_another() -> None:
    stillness = Stillness(10)
    for now in (100, 105, 110):
        found = looked(stillness, now, moves=(now, True), stands=(1, True))
    assert found == {"stands": 10}
