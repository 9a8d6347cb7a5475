"""The table on disk: what it is besides a state (its contract is tested with that of all states)."""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
import rocksdict
from damaged_tables import damage, damage_values

from stream_qa.errors import CorruptTableError, DiskError
from stream_qa.streaming.positions import Mark
from stream_qa.streaming.table import Table

MARK = Mark(7, 1_700_000_000_000, b"0123456789abcdef")


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


def test_a_table_that_is_opened_again_is_read_through_the_cache_it_is_given(path: Path) -> None:
    """RocksDB keeps options beside the files and opens by them where it is told no others, without our cache."""
    values = {f"{number:04}".encode(): bytes([number % 256]) * 1_000 for number in range(300)}
    with closing(open_table(path)) as table:
        for key, value in values.items():
            table.apply({key: value})
    cache = rocksdict.Cache(16 << 20)
    with closing(Table(path, cache, 64 << 10)) as again:
        before = cache.get_usage()
        assert again.get_many(list(values)) == list(values.values())
        assert cache.get_usage() - before > 200_000


def test_what_is_more_than_the_write_buffer_survives_closing(path: Path) -> None:
    values = {f"{number:04}".encode(): bytes([number % 256]) * 1_000 for number in range(300)}
    with closing(open_table(path)) as table:
        for key, value in values.items():
            table.apply({key: value})
    with closing(open_table(path)) as again:
        assert again.get_many(list(values)) == list(values.values())


def test_a_cleared_table_is_empty_and_usable_and_stays_so(path: Path) -> None:
    with closing(open_table(path)) as table:
        table.store({b"a": b"1"}, MARK)
        table.clear()
        assert table.is_empty()
        assert table.mark() is None
        table.apply({b"b": b"2"})
    with closing(open_table(path)) as again:
        assert list(again.scan(b"", b"\xff")) == [(b"b", b"2")]


def test_a_table_cannot_be_opened_twice(table: Table, path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be read or written"):
        open_table(path)
    table.apply({b"a": b"1"})
    assert table.get_many([b"a"]) == [b"1"]


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("no table")
    with pytest.raises(DiskError, match="cannot be read or written"):
        open_table(path)
    with pytest.raises(DiskError, match="cannot be read or written"):
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


def test_the_mark_is_written_with_the_changes_and_read_again(path: Path) -> None:
    with closing(open_table(path)) as table:
        assert table.mark() is None
        assert table.is_empty()
        table.store({b"a": b"1"}, MARK)
    with closing(open_table(path)) as again:
        assert again.mark() == MARK
        assert again.get_many([b"a"]) == [b"1"]
        assert not again.is_empty()


def full_table(path: Path) -> None:
    """Make a table with more than its write buffer holds, so that there are files of all kinds."""
    values = random.Random(0)  # noqa: S311 # bytes that do not compress
    with closing(open_table(path)) as table:
        for number in range(300):
            table.apply({f"{number:04}".encode(): values.randbytes(1_000)})


@pytest.mark.parametrize("damaged", ["manifest", "missing"])
def test_a_table_whose_files_are_damaged_is_opened_empty(
    path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    full_table(path)
    if damaged == "manifest":
        damage(next(path.glob("MANIFEST*")), 20)
    else:
        next(path.glob("*.sst")).unlink()
    with closing(open_table(path)) as table:
        assert table.is_empty()
        table.apply({b"a": b"1"})
    assert "it is built anew" in caplog.text
    with closing(open_table(path)) as again:
        assert again.get_many([b"a"]) == [b"1"]


@pytest.mark.parametrize("reading", ["get_many", "scan"])
def test_damage_that_shows_only_when_it_is_read_is_an_error(path: Path, reading: str) -> None:
    """A scan of the binding would end there as if there were no more."""
    full_table(path)
    damage_values(path)
    keys = [f"{number:04}".encode() for number in range(300)]
    with closing(open_table(path)) as table, pytest.raises(CorruptTableError, match="is damaged"):
        _ = list(table.scan(b"", b"\xff")) if reading == "scan" else table.get_many(keys)


def test_the_error_of_a_scan_does_not_keep_the_table_open(path: Path) -> None:
    full_table(path)
    damage_values(path)
    with closing(open_table(path)) as table:
        with pytest.raises(CorruptTableError) as met:
            _ = list(table.scan(b"", b"\xff"))
        table.clear()
        assert table.is_empty()
        assert met.tb is not None


@pytest.fixture
def spoilt(path: Path) -> Table:
    """Give an open table whose files were damaged, and that has come to know it in the background."""
    full_table(path)
    damage_values(path)
    table = open_table(path)
    with pytest.raises(CorruptTableError):
        write_until_files_are_merged(table)
    return table


def write_until_files_are_merged(table: Table) -> NoReturn:
    values = random.Random(0)  # noqa: S311 # bytes that do not compress
    while True:
        table.apply({f"{number:04}".encode(): values.randbytes(1_000) for number in range(50)})


def test_damage_that_shows_when_it_is_closed_is_an_error(spoilt: Table) -> None:
    with pytest.raises(CorruptTableError, match="is damaged"):
        spoilt.close()


def test_a_table_that_cannot_be_closed_for_damage_can_be_cleared(spoilt: Table) -> None:
    spoilt.clear()
    with closing(spoilt):
        assert not spoilt.is_damaged
        assert spoilt.is_empty()
        spoilt.apply({b"a": b"1"})
        assert spoilt.get_many([b"a"]) == [b"1"]
