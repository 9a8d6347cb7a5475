"""The table on disk: what it is besides a state (its contract is tested with that of all states)."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import rocksdict

from stream_qa.errors import StateError
from stream_qa.streaming.table import CHANGELOG_OFFSET, POSITION, Table, pack_offset, position_key


def open_table(path: Path) -> Table:
    return Table(path, rocksdict.Cache(1 << 20), 64 << 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "member-0"


@pytest.fixture
def table(path: Path) -> Iterator[Table]:
    """Give an open table in directories that were not there."""
    table = open_table(path)
    yield table
    table.close()


def test_what_was_written_survives_closing(path: Path) -> None:
    with closing(open_table(path)) as table:
        table.apply({b"a": b"1", b"b": b"", b"c": b"3"})
        table.apply({b"c": None})
    with closing(open_table(path)) as again:
        assert list(again.scan(b"", b"\xff")) == [(b"a", b"1"), (b"b", b"")]


def test_what_is_more_than_the_write_buffer_survives_closing(path: Path) -> None:
    values = {f"{number:04}".encode(): bytes([number % 256]) * 1_000 for number in range(300)}
    with closing(open_table(path)) as table:
        for key, value in values.items():
            table.apply({key: value})
    with closing(open_table(path)) as again:
        assert again.get_many(list(values)) == list(values.values())


def test_a_cleared_table_is_empty_and_usable_and_stays_so(path: Path) -> None:
    with closing(open_table(path)) as table:
        table.apply({b"a": b"1", CHANGELOG_OFFSET: pack_offset(7)})
        table.clear()
        assert list(table.scan(b"", b"\xff")) == []
        assert table.offset(CHANGELOG_OFFSET) is None
        table.apply({b"b": b"2"})
    with closing(open_table(path)) as again:
        assert list(again.scan(b"", b"\xff")) == [(b"b", b"2")]


def test_a_table_cannot_be_opened_twice(table: Table, path: Path) -> None:
    with pytest.raises(StateError, match="cannot be opened"):
        open_table(path)
    table.apply({b"a": b"1"})
    assert table.get_many([b"a"]) == [b"1"]


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("no table")
    with pytest.raises(StateError, match="cannot be opened"):
        open_table(path)
    with pytest.raises(StateError, match="cannot be opened"):
        open_table(path / "table")


def test_a_batch_that_cannot_be_written_whole_is_not_written_at_all(table: Table) -> None:
    table.apply({b"a": b"1"})
    with pytest.raises(ValueError, match="only support bytes"):
        table.apply({b"a": b"2", b"b": 5})  # type: ignore[dict-item]
    assert table.get_many([b"a", b"b"]) == [b"1", None]


def test_a_scan_does_not_see_what_is_written_while_it_runs(table: Table) -> None:
    table.apply({b"a": b"1", b"b": b"2", b"c": b"3"})
    scan = table.scan(b"a", b"z")
    first = next(scan)
    table.apply({b"b": None, b"c": b"4", b"d": b"5"})
    assert [first, *scan] == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]


@pytest.mark.parametrize("offset", [0, 1, 2**40, -1])
def test_an_offset_is_read_as_it_was_packed(table: Table, offset: int) -> None:
    assert table.offset(CHANGELOG_OFFSET) is None
    table.apply({CHANGELOG_OFFSET: pack_offset(offset)})
    assert table.offset(CHANGELOG_OFFSET) == offset


def test_positions_of_two_sources_are_apart() -> None:
    keys = {position_key("applications"), position_key("engagements"), CHANGELOG_OFFSET}
    assert len(keys) == 3
    assert all(position_key(topic).startswith(POSITION) for topic in ("applications", "engagements"))
