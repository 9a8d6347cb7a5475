"""What a process remembers of a distant store."""

from hypothesis import given
from hypothesis import strategies as st

from stream_qa.following.recent import RecentRecords


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_records_are_remembered_and_so_is_that_there_are_none() -> None:
    recent = RecentRecords(10, 1.0)
    recent.keep({b"a": b"1", b"b": None})
    assert recent.known([b"a", b"b", b"c", b"a"]) == {b"a": b"1", b"b": None}


def test_what_was_read_last_counts() -> None:
    clock = Clock()
    recent = RecentRecords(10, 1.0, clock)
    recent.keep({b"a": b"1"})
    clock.now += 0.6
    recent.keep({b"a": b"2"})
    assert recent.known([b"a"]) == {b"a": b"2"}


def test_what_has_changed_is_forgotten() -> None:
    clock = Clock()
    recent = RecentRecords(10, 1.0, clock)
    recent.keep({b"a": b"1", b"b": b"1"})
    clock.now += 0.6
    recent.keep({b"a": b"2"})
    recent.forget([b"a", b"c"])
    assert recent.known([b"a", b"b"]) == {b"b": b"1"}


def test_nothing_is_remembered_for_no_time_or_in_no_place() -> None:
    for most, seconds in ((10, 0.0), (0, 1.0)):
        recent = RecentRecords(most, seconds)
        recent.keep({b"a": b"1"})
        assert recent.known([b"a"]) == {}


@given(st.lists(st.tuples(st.floats(0, 1.2), st.sets(st.integers(0, 20), max_size=8)), max_size=20))
def test_no_record_becomes_too_old_and_there_are_never_too_many(steps: list[tuple[float, set[int]]]) -> None:
    clock = Clock()
    recent = RecentRecords(12, 1.0, clock)
    keys = [b"%d" % number for number in range(21)]
    read_at: dict[bytes, float] = {}
    for seconds, numbers in steps:
        clock.now += seconds
        known = recent.known(keys)
        assert len(known) <= 12
        assert all(clock.now - read_at[key] <= 1.0 for key in known)
        recent.keep({keys[number]: b"" for number in numbers})
        read_at.update({keys[number]: clock.now for number in numbers})


def test_a_record_is_remembered_for_half_of_the_time_at_least() -> None:
    clock = Clock()
    recent = RecentRecords(10, 1.0, clock)
    for start in (0.0, 0.2, 0.49):
        clock.now += start
        recent.keep({b"a": b"1"})
        clock.now += 0.5
        assert recent.known([b"a"]) == {b"a": b"1"}
