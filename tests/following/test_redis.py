"""Coefficients on a real server: what there is besides the contract of all backends."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Thread

import pytest
from changes import delta, packed
from ports import free_port
from redis_server import RedisServer

from stream_qa.coefficients import Change, CoefficientStore, Place, Reach, Verdict
from stream_qa.errors import StoreAheadError, StoreBehindError, StoreUnavailableError
from stream_qa.following import open_store
from stream_qa.following.redis import RedisBackend

pytestmark = pytest.mark.redis

PLACE = Place("coefficients", 0)
_prefixes = map("test-{}:".format, count())


@pytest.fixture
def prefix() -> str:
    """Give a prefix that no other test uses."""
    return next(_prefixes)


@pytest.fixture
def own_server(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """Give a server that may be stopped."""
    server = RedisServer(redis_server.program, tmp_path, free_port())
    server.start()
    yield server
    server.stop()


def test_followers_that_do_the_same_at_once_apply_each_delta_once(redis_server: RedisServer, prefix: str) -> None:
    entities = [f"entity-{number}" for number in range(20)]
    log: list[Change] = [
        delta(version, version + 1, [1.0, 2.0**-24], entity_id=entity) for version in range(40) for entity in entities
    ]

    def follow(store: CoefficientStore, step: int) -> None:
        at = 0
        while at < len(log):
            until = min(at + step, len(log))
            try:
                store.apply(log[at:until], {PLACE: Reach(at, until)})
                at = until
            except StoreAheadError:
                at = store.positions()[PLACE]

    stores = [CoefficientStore(RedisBackend(redis_server.url, prefix)) for _ in range(4)]
    followers = [Thread(target=follow, args=(store, 7 + 3 * number)) for number, store in enumerate(stores)]
    for follower in followers:
        follower.start()
    for follower in followers:
        follower.join()
    for store in stores:
        assert store.positions() == {PLACE: len(log)}
        found = store.look_up("member", entities)
        assert found.versions.tolist() == [40] * len(entities)
        assert found.vectors.tobytes() == packed([40.0, 40 * 2.0**-24]) * len(entities)
        store.close()
    assert sum(store.metrics.changes[Verdict.APPLIED] for store in stores) == len(log)
    assert sum(store.metrics.gaps for store in stores) == 0


def test_worker_groups_are_kept_apart_by_their_prefixes(redis_server: RedisServer, prefix: str) -> None:
    with (
        closing(open_store(redis_server.url, prefix + "eu")) as one,
        closing(open_store(redis_server.url, prefix)) as other,
    ):
        one.apply([delta(0, 1, [1.0])], {PLACE: Reach(0, 5)})
        assert other.get("member", "entity-1") is None
        assert other.positions() == {}
        assert list(other.entities()) == []


def test_generations_are_kept_apart_by_their_keys(redis_server: RedisServer, prefix: str) -> None:
    with (
        closing(open_store(redis_server.url, prefix)) as first,
        closing(open_store(redis_server.url, prefix, generation=2)) as second,
    ):
        first.apply([delta(0, 1, [1.0])], {PLACE: Reach(0, 5)})
        assert (second.get("member", "entity-1"), second.positions(), list(second.entities())) == (None, {}, [])
        second.apply([delta(0, 1, [2.0])], {PLACE: Reach(0, 3)})
        assert [(entity_id, found.vector.tolist()) for _, entity_id, found in first.entities()] == [("entity-1", [1.0])]
        assert (first.positions(), second.positions()) == ({PLACE: 5}, {PLACE: 3})


def test_what_a_process_remembers_is_bounded_in_age_and_number(redis_server: RedisServer, prefix: str) -> None:
    ids = [f"entity-{number}" for number in range(10)]
    with (
        closing(open_store(redis_server.url, prefix)) as writer,
        closing(open_store(redis_server.url, prefix, cached_entities=4, cached_seconds=3600)) as few,
        closing(open_store(redis_server.url, prefix, cached_seconds=0)) as short,
    ):
        writer.apply([delta(0, 1, [1.0], entity_id=each) for each in ids])
        for reader in (few, short):
            assert reader.look_up("member", ids).versions.tolist() == [1] * 10
            reader.look_up("member", ids[:4])
        assert few.metrics.cached == 2
        assert short.metrics.cached == 0


def test_a_server_that_does_not_answer_is_said_to_and_is_used_again_when_it_does(own_server: RedisServer) -> None:
    with closing(CoefficientStore(RedisBackend(own_server.url))) as store:
        store.apply([delta(0, 1, [1.0])], {PLACE: Reach(0, 5)})
        own_server.stop()
        for ask in (
            lambda: store.look_up("member", ["entity-1"]),
            lambda: store.apply([delta(1, 2, [1.0])], {PLACE: Reach(5, 6)}),
            store.positions,
            lambda: list(store.entities()),
        ):
            with pytest.raises(StoreUnavailableError, match="Connection refused"):
                ask()
        own_server.start()
        # It has lost everything, and a delta on top of that must not be taken as if it had not.
        with pytest.raises(StoreBehindError):
            store.apply([delta(1, 2, [1.0])], {PLACE: Reach(5, 6)})
        assert store.look_up("member", ["entity-1"]).versions.tolist() == [0]


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:port/0",
        "http://127.0.0.1",
        *(f"redis://user:s{special}ecret@127.0.0.1:6379/0" for special in ["@/", "@?", "@?a=", "@#", "/", "1/"]),
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(StoreUnavailableError, match="the store's URL cannot be used") as refused:
        RedisBackend(url)
    assert "ecret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1/0?password=s@/ecret", "redis://u%40a:s%40ecret@127.0.0.1/0", "unix:///run/a@b.sock"]
)
def test_an_at_sign_that_belongs_there_is_none_of_a_password_that_is_cut_off(url: str) -> None:
    RedisBackend(url).close()
