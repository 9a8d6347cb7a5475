"""Changes over a table: as if they were written, and the table untouched."""

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
