"""Coefficients on disk: what there is besides the contract of all backends."""

from contextlib import closing
from pathlib import Path

import pytest

from stream_qa.coefficients import Place, Reach, Swap
from stream_qa.errors import DiskError
from stream_qa.following import RocksDBBackend

PLACE = Place("coefficients", 0)


def test_what_was_applied_and_how_far_survives_closing(tmp_path: Path) -> None:
    with closing(RocksDBBackend(tmp_path / "deep" / "store")) as backend:
        backend.swap({b"job:a": Swap(b"", b"1" * 40)}, {PLACE: Reach(0, 9)})
    with closing(RocksDBBackend(tmp_path / "deep" / "store")) as again:
        assert list(again.scan()) == [(b"job:a", b"1" * 40)]
        assert again.positions() == {PLACE: 9}


def test_a_directory_belongs_to_one_process(tmp_path: Path) -> None:
    with closing(RocksDBBackend(tmp_path)), pytest.raises(DiskError, match="cannot be read or written"):
        RocksDBBackend(tmp_path)
