"""Changes over a table: as if they were written, and the table untouched."""

from collections.abc import Iterator
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from stream_qa.stages.overlay import Overlay
from stream_qa.stages.state import MemoryState

KEYS = st.binary(min_size=1, max_size=2)
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(max_size=2), max_size=8)


@given(CHANGES, CHANGES, CHANGES, KEYS, KEYS)
def test_it_reads_as_a_table_that_has_the_changes(
    first: dict[bytes, bytes | None],
    second: dict[bytes, bytes | None],
    third: dict[bytes, bytes | None],
    start: bytes,
    end: bytes,
) -> None:
    below, written = MemoryState(), MemoryState()
    below.apply(first)
    for changes in (first, second, third):
        written.apply(changes)
    overlay = Overlay(below)
    overlay.apply(second)
    overlay.apply(third)
    keys = [*first, *second, *third, b"no such key"]
    assert overlay.get_many(keys) == written.get_many(keys)
    assert list(overlay.scan(start, end)) == list(written.scan(start, end))
    assert dict(overlay.changes) == {**second, **third}


def test_what_is_below_stays_as_it_was() -> None:
    below = MemoryState()
    below.apply({b"a": b"1"})
    Overlay(below).apply({b"a": None, b"b": b"2"})
    assert list(below.scan(b"", b"\xff")) == [(b"a", b"1")]


@given(CHANGES, CHANGES, KEYS, KEYS, st.integers(0, 16))
def test_a_scan_has_in_order_what_a_dictionary_would(
    first: dict[bytes, bytes | None], second: dict[bytes, bytes | None], start: bytes, end: bytes, count: int
) -> None:
    """Also as far as it is read: the rest may be left."""
    below = MemoryState()
    below.apply(first)
    inside = {key: value for key, value in {**first, **second}.items() if value is not None and start <= key < end}
    scan = Overlay(below, second).scan(start, end)
    assert list(islice(scan, count)) == sorted(inside.items())[:count]
    assert list(scan) == sorted(inside.items())[count:]


def test_a_scan_reads_no_more_of_the_table_than_is_asked_for() -> None:
    """A sweep takes the next of all entities: a table has millions."""
    read: list[bytes] = []

    class Watched(MemoryState):
        def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
            for key, value in super().scan(start, end):
                read.append(key)
                yield key, value

    below = Watched()
    below.apply({b"%03d" % number: b"" for number in range(100)})
    overlay = Overlay(below, {b"000": None, b"002": b"new"})
    assert list(islice(overlay.scan(b"", b"9"), 3)) == [(b"001", b""), (b"002", b"new"), (b"003", b"")]
    assert read[-1] <= b"004"
