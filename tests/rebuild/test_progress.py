"""How far a generation is, and when it will have caught up."""

from hypothesis import given
from hypothesis import strategies as st

from stream_qa.rebuild.progress import Pace, Progress
from stream_qa.streaming.group_offsets import Look


def test_a_first_look_says_where_it_is_and_nothing_of_speed() -> None:
    found = Pace().progress(Look(at=7.0, beginning=100, done=150, end=300, waiting=4))
    assert found == Progress(processed=50, of=200, waiting=4, per_second=None, seconds_left=None)
    assert found.share == 0.25


def test_speed_is_that_of_its_own_and_the_time_left_that_of_the_gap() -> None:
    pace = Pace()
    pace.progress(Look(0.0, 0, 0, 1000, 0))
    # 50 a second are done, and 10 a second come in: 600 are left, 40 fewer every second.
    found = pace.progress(Look(10.0, 0, 500, 1100, 0))
    assert (found.per_second, found.seconds_left) == (50.0, 15.0)


def test_one_that_does_not_come_nearer_has_no_time_left_to_tell() -> None:
    pace = Pace()
    pace.progress(Look(0.0, 0, 0, 1000, 0))
    assert pace.progress(Look(10.0, 0, 100, 1200, 0)).seconds_left is None


def test_speed_is_that_of_the_last_minute() -> None:
    pace = Pace()
    for at, done in ((0.0, 0), (60.0, 60_000), (120.0, 60_060)):
        found = pace.progress(Look(at, 0, done, 100_000, 0))
    assert found.per_second == 1.0


def test_an_empty_log_is_processed() -> None:
    found = Pace().progress(Look(0.0, 5, 5, 5, 0))
    assert (found.share, found.seconds_left) == (1.0, 0.0)


@given(st.lists(st.tuples(st.floats(0.01, 50), st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=20))
def test_with_a_steady_gap_the_time_left_is_never_below_0(steps: list[tuple[float, int, int]]) -> None:
    pace, at, done, end = Pace(), 0.0, 0, 10_000
    for seconds, more_done, more_there in steps:
        at, end = at + seconds, end + more_there
        done = min(done + more_done, end)
        found = pace.progress(Look(at, 0, done, end, 0))
        assert 0 <= found.share <= 1
        assert found.seconds_left is None or found.seconds_left >= 0
