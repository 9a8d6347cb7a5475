"""Which store a location means."""

import sys
from contextlib import closing
from pathlib import Path

import pytest
from changes import delta

from stream_qa.errors import MissingExtraError
from stream_qa.following import open_store


def test_a_path_is_a_directory_of_a_store_that_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        with closing(open_store(str(tmp_path / "store"))) as store:
            store.apply([delta(0, 1, [1.0])])
            assert store.look_up("member", ["entity-1"]).versions.tolist() == [1]


def test_a_url_without_the_extra_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "stream_qa.following.redis", raising=False)
    with pytest.raises(MissingExtraError, match="the extra redis"):
        open_store("redis://127.0.0.1:6379/0")


def test_generations_have_directories_beside_each_other(tmp_path: Path) -> None:
    location = f"{tmp_path / 'store'}/"
    with closing(open_store(location)) as first, closing(open_store(location, generation=2)) as second:
        first.apply([delta(0, 1, [1.0])])
        second.apply([delta(0, 1, [2.0])])
        for store, coefficient in ((first, 1.0), (second, 2.0)):
            assert store.look_up("member", ["entity-1"]).vectors.tolist() == [[coefficient]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "store.g2"]
