"""Coefficients on disk: what there is besides the contract of all backends."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from damaged_tables import damage, damage_values

from stream_qa.coefficients import Place, Reach, Swap
from stream_qa.errors import CorruptTableError, DiskError
from stream_qa.following import RocksDBBackend

PLACE = Place("coefficients", 0)
FOLLOWED, ANOTHER = b"1" * 16, b"2" * 16
"""Ids of topics."""


def test_what_was_applied_and_how_far_survives_closing(tmp_path: Path) -> None:
    with closing(RocksDBBackend(tmp_path / "deep" / "store")) as backend:
        backend.swap({b"job:a": Swap(b"", b"1" * 40)}, {PLACE: Reach(0, 9)})
    with closing(RocksDBBackend(tmp_path / "deep" / "store")) as again:
        assert list(again.scan()) == [(b"job:a", b"1" * 40)]
        assert again.positions() == {PLACE: 9}


def test_a_directory_belongs_to_one_process(tmp_path: Path) -> None:
    with closing(RocksDBBackend(tmp_path)), pytest.raises(DiskError, match="cannot be read or written"):
        RocksDBBackend(tmp_path)


KEYS = [b"job:%03d" % number for number in range(300)]


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[RocksDBBackend]:
    """Give a backend of a full directory that was damaged, which a look-up has met."""
    values = random.Random(0)  # noqa: S311 # bytes that do not compress
    with closing(RocksDBBackend(tmp_path)) as backend:
        backend.swap({key: Swap(b"", values.randbytes(1_000)) for key in KEYS}, {PLACE: Reach(0, 9)})
        assert backend.followed(PLACE.topic, FOLLOWED) == FOLLOWED
    damage_values(tmp_path)
    with closing(RocksDBBackend(tmp_path)) as backend:
        assert backend.followed(PLACE.topic, ANOTHER) == FOLLOWED
        assert backend.positions() == {PLACE: 9}
        with pytest.raises(CorruptTableError):
            backend.get_many(KEYS)
        yield backend


def test_damage_that_a_look_up_meets_is_told_to_who_follows_and_it_begins_anew(damaged: RocksDBBackend) -> None:
    with pytest.raises(CorruptTableError):
        damaged.swap({}, {PLACE: Reach(9, 9)})
    assert damaged.positions() == {}
    assert damaged.get_many(KEYS) == [None] * len(KEYS)
    assert damaged.followed(PLACE.topic, ANOTHER) == FOLLOWED
    damaged.swap({KEYS[0]: Swap(b"", b"1" * 40)}, {PLACE: Reach(0, 3)})
    assert list(damaged.scan()) == [(KEYS[0], b"1" * 40)]
    assert damaged.positions() == {PLACE: 3}


def test_where_not_even_the_topic_is_known_that_was_followed_it_begins_anew(tmp_path: Path) -> None:
    with closing(RocksDBBackend(tmp_path)) as backend:
        backend.swap({KEYS[0]: Swap(b"", b"1" * 40)}, {PLACE: Reach(0, 9)})
        backend.followed(PLACE.topic, FOLLOWED)
    [file] = tmp_path.glob("*.sst")
    damage(file, 0)
    with closing(RocksDBBackend(tmp_path)) as backend:
        with pytest.raises(CorruptTableError):
            backend.followed(PLACE.topic, FOLLOWED)
        assert backend.followed(PLACE.topic, ANOTHER) == ANOTHER
        assert backend.positions() == {}


def test_it_begins_anew_beside_look_ups(damaged: RocksDBBackend) -> None:
    def look_up_until_it_is_empty() -> None:
        empty = False
        while not empty:
            with suppress(CorruptTableError):
                empty = damaged.get_many(KEYS) == [None] * len(KEYS)

    with ThreadPoolExecutor(4) as threads:
        looking_up = [threads.submit(look_up_until_it_is_empty) for _ in range(4)]
        assert damaged.positions() == {}
        for each in looking_up:
            each.result()
