"""What a server holds: one contract for every place where coefficients can be kept."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changes import ENTITY, delta, packed, snapshot, tombstone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_qa.coefficients import (
    Backend,
    Change,
    Coefficients,
    CoefficientStore,
    MemoryBackend,
    Place,
    Reach,
    Swap,
    Verdict,
)
from stream_qa.errors import StoreAheadError, StoreBehindError
from stream_qa.following import RocksDBBackend
from stream_qa.following.recent import RecentRecords
from stream_qa.following.redis import RedisBackend

NAMES = map("entity-{}".format, count())


@pytest.fixture(params=["memory", "rocksdb", pytest.param("redis", marks=pytest.mark.redis)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Give an empty backend of each kind."""
    made: Backend
    match request.param:
        case "memory":
            made = MemoryBackend()
        case "rocksdb":
            made = RocksDBBackend(tmp_path / "store", 1 << 20, 64 << 10)
        case _:
            made = RedisBackend(request.getfixturevalue("redis_server").url, next(NAMES) + "*[x]:")
    with closing(made):
        yield made


@pytest.fixture
def store(backend: Backend) -> CoefficientStore:
    """Give an empty store."""
    return CoefficientStore(backend)


def held(store: CoefficientStore, entity_id: str = ENTITY) -> tuple[int, list[float], int, int, str]:
    coefficients = store.get("member", entity_id)
    assert isinstance(coefficients, Coefficients)
    return (
        coefficients.version,
        coefficients.vector.tolist(),
        coefficients.labels,
        coefficients.newest_at,
        coefficients.model_version,
    )


def test_an_entity_that_has_not_learned_is_unknown(store: CoefficientStore) -> None:
    assert store.get("member", ENTITY) is None
    assert list(store.entities()) == []


def test_deltas_of_one_step_are_added_in_order(store: CoefficientStore) -> None:
    store.apply([delta(0, 2, [0.5, -1.0]), delta(2, 3, [0.25, 0.5], model_version="modèle-2")])
    assert held(store) == (3, [0.75, -0.5], 3, 1_003, "modèle-2")
    store.apply([delta(3, 4, [1.0, 1.0])])
    assert held(store) == (4, [1.75, 0.5], 4, 1_004, "model-1")


def test_the_same_changes_again_do_nothing(store: CoefficientStore) -> None:
    changes: list[Change] = [delta(0, 3, [1.0]), delta(3, 4, [1.0]), snapshot(4, [2.0])]
    store.apply(changes)
    store.apply(changes)
    assert held(store) == (4, [2.0], 4, 1_004, "model-1")
    assert store.metrics.changes == {Verdict.APPLIED: 2, Verdict.SKIPPED: 4}


def test_over_a_gap_the_old_vector_is_served_until_a_snapshot(store: CoefficientStore) -> None:
    store.apply([delta(0, 1, [1.0]), delta(2, 3, [7.0]), delta(3, 4, [7.0])])
    assert held(store) == (1, [1.0], 1, 1_001, "model-1")
    assert store.metrics.gaps == 2
    store.apply([snapshot(4, [3.0]), delta(4, 5, [0.5])])
    assert held(store) == (5, [3.5], 5, 1_005, "model-1")


def test_a_tombstone_drops_an_entity(store: CoefficientStore) -> None:
    store.apply([delta(0, 1, [1.0]), delta(0, 1, [2.0], entity_id="other")])
    store.apply([tombstone()])
    assert store.get("member", ENTITY) is None
    assert held(store, "other")[0] == 1
    store.apply([delta(0, 2, [4.0], newest_at=5_000)])
    assert held(store)[:2] == (2, [4.0])


def test_many_are_looked_up_in_one_call_in_the_order_asked_for(store: CoefficientStore) -> None:
    store.apply(
        [
            delta(0, 1, [1.0, 2.0], entity_id="a", model_version="old"),
            delta(0, 3, [3.0, 4.0], entity_id="b"),
            delta(0, 9, [9.0, 9.0], entity_id="a", kind="job"),
        ]
    )
    found = store.look_up("member", ["b", "unknown", "a", "b"])
    assert found.vectors.dtype == np.float64
    assert found.vectors.tolist() == [[3.0, 4.0], [0.0, 0.0], [1.0, 2.0], [3.0, 4.0]]
    assert found.versions.tolist() == [3, 0, 1, 3]
    assert found.labels.tolist() == [3, 0, 1, 3]
    assert found.newest.tolist() == [1_003, 0, 1_001, 1_003]
    assert found.model_versions == ["model-1", "", "old", "model-1"]
    assert (store.metrics.looked_up, store.metrics.found) == (4, 3)


def test_both_sides_are_looked_up_in_one_query(backend: Backend) -> None:
    queries: list[int] = []

    class Counting(Passing):
        def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
            queries.append(len(keys))
            return super().get_many(keys)

    store = CoefficientStore(Counting(backend))
    store.apply([delta(0, 1, [1.0, 2.0], entity_id="a"), delta(0, 2, [3.0], entity_id="a", kind="job")])
    queries.clear()
    found = store.look_up_both({"member": ["a"], "job": ["b", "a"]})
    assert queries == [3]
    assert found["member"].vectors.tolist() == [[1.0, 2.0]]
    assert found["job"].vectors.tolist() == [[0.0], [3.0]]


def test_who_is_not_held_has_the_length_that_is_asked_for(store: CoefficientStore) -> None:
    assert store.look_up("member", ["a", "b"], dimension=3).vectors.tolist() == [[0.0] * 3] * 2
    assert store.look_up("member", ["a"]).vectors.shape == (1, 0)
    assert store.look_up("member", [], dimension=3).vectors.shape == (0, 3)


def test_vectors_of_another_length_count_as_not_held(store: CoefficientStore) -> None:
    store.apply([delta(0, 1, [1.0, 2.0], entity_id="a"), delta(0, 1, [1.0, 2.0, 3.0], entity_id="b")])
    found = store.look_up("member", ["a", "b"], dimension=3)
    assert found.vectors.tolist() == [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]
    assert found.versions.tolist() == [0, 1]


def test_all_that_is_held_can_be_gone_through(store: CoefficientStore) -> None:
    store.apply(
        [delta(0, 1, [1.0], entity_id="a:1"), delta(0, 2, [2.0], entity_id="b", kind="job")],
        {Place("deltas", 0): Reach(0, 7)},
    )
    found = {(side, entity_id): each.vector.tolist() for side, entity_id, each in store.entities()}
    assert found == {("member", "a:1"): [1.0], ("job", "b"): [2.0]}


def test_positions_are_kept_with_what_they_stand_for(store: CoefficientStore) -> None:
    assert store.positions() == {}
    places = [Place("eu-coefficients", number) for number in (3, 12, 13)]
    store.apply([delta(0, 1, [1.0])], {places[0]: Reach(0, 17)})
    store.apply([], {places[0]: Reach(17, 17), places[1]: Reach(0, 2), places[2]: Reach(0, 0)})
    assert store.positions() == {places[0]: 17, places[1]: 2}


def test_a_position_may_be_taken_back_to_read_again_what_was_passed(store: CoefficientStore) -> None:
    snapshots, deltas = Place("snapshots", 0), Place("deltas", 0)
    store.apply([delta(0, 1, [1.0])], {snapshots: Reach(0, 4), deltas: Reach(0, 7)})
    with pytest.raises(StoreAheadError):
        store.apply([], {snapshots: Reach(4, 0), deltas: Reach(6, 0)})
    assert store.positions() == {snapshots: 4, deltas: 7}
    store.apply([], {snapshots: Reach(4, 0), deltas: Reach(7, 0)})
    assert store.positions() == {snapshots: 0, deltas: 0}
    with pytest.raises(StoreBehindError):
        store.apply([], {deltas: Reach(7, 8)})
    store.apply([], {deltas: Reach(0, 3)})
    assert (held(store)[0], store.positions()[deltas]) == (1, 3)


def test_what_was_read_before_another_follower_got_further_is_not_taken(store: CoefficientStore) -> None:
    place = Place("deltas", 0)
    second_life = [delta(0, 1, [7.0], newest_at=9_000), delta(1, 2, [1.0], newest_at=9_000)]
    store.apply([delta(0, 1, [1.0]), tombstone(), *second_life], {place: Reach(0, 4)})
    store.apply([delta(0, 1, [5.0], entity_id="gone"), tombstone("gone")], {place: Reach(4, 6)})
    late: list[tuple[Change, Reach]] = [
        (tombstone(), Reach(1, 2)),
        (delta(0, 1, [5.0], entity_id="gone"), Reach(4, 5)),
    ]
    for read, reach in late:
        with pytest.raises(StoreAheadError, match="further"):
            store.apply([read], {place: reach, Place("deltas", 1): Reach(0, 3)})
    assert held(store)[:2] == (2, [8.0])
    assert store.get("member", "gone") is None
    assert store.positions() == {place: 6}


def test_which_topic_is_followed_is_kept_from_the_first_time_on(store: CoefficientStore) -> None:
    store.apply([delta(0, 1, [1.0])], {Place("deltas", 0): Reach(0, 7)})
    for asked in (b"a" * 16, b"b" * 16):
        assert store.followed("deltas", asked) == b"a" * 16
    assert store.followed("eu-deltas", b"c" * 16) == b"c" * 16
    assert store.positions() == {Place("deltas", 0): 7}
    assert [entity_id for _, entity_id, _ in store.entities()] == [ENTITY]


@pytest.mark.parametrize("known", [0, 16])
def test_a_store_that_has_lost_something_takes_nothing_that_builds_on_it(backend: Backend, known: int) -> None:
    store = CoefficientStore(backend)
    place = Place("deltas", 0)
    store.apply([delta(0, 1, [1.0])], {place: Reach(0, known)})
    with pytest.raises(StoreBehindError, match="behind"):
        store.apply([delta(1, 2, [1.0])], {Place("deltas", 1): Reach(0, 4), place: Reach(17, 20)})
    assert held(store)[0] == 1
    assert Place("deltas", 1) not in store.positions()
    assert store.positions().get(place, 0) == known


def test_what_another_follower_did_in_between_is_not_done_twice(backend: Backend) -> None:
    class Interrupted(Passing):
        """Another follower gets ahead between the reading and the writing, once."""

        between: Sequence[Change] = ()

        def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Any:  # noqa: ANN401
            between, self.between = self.between, ()
            if between:
                CoefficientStore(backend).apply(between)
            return super().swap(swaps, positions)

    interrupted = Interrupted(backend)
    store = CoefficientStore(interrupted)
    store.apply([delta(0, 1, [1.0]), delta(0, 1, [5.0], entity_id="other")])
    interrupted.between = [delta(1, 2, [1.0]), delta(2, 3, [1.0])]
    changes = [delta(1, 2, [1.0]), delta(2, 3, [1.0]), delta(3, 4, [1.0]), delta(1, 2, [5.0], entity_id="other")]
    store.apply(changes, {Place("deltas", 0): Reach(0, 4)})
    assert held(store)[:2] == (4, [4.0])
    assert held(store, "other")[:2] == (2, [10.0])
    assert store.positions() == {Place("deltas", 0): 4}
    assert store.metrics.changes == {Verdict.APPLIED: 4, Verdict.SKIPPED: 2}


def test_a_record_that_is_not_the_one_before_is_not_replaced(backend: Backend) -> None:
    assert backend.swap({b"member:a": Swap(b"", b"1" * 40)}, {}) == []
    place = Place("deltas", 0)
    for before, after in [(b"", b"2" * 40), (b"0" * 27, b"2" * 40), (b"", None)]:
        assert list(backend.swap({b"member:a": Swap(before, after)}, {place: Reach(0, 3)})) == [b"member:a"]
    assert backend.get_many([b"member:a"]) == [b"1" * 40]
    assert backend.positions() == {}
    assert not backend.swap({b"member:a": Swap(b"1" * 27, None)}, {place: Reach(0, 3)})
    assert backend.get_many([b"member:a"]) == [None]
    assert backend.positions() == {place: 3}


def test_what_was_looked_up_is_not_asked_for_again_until_it_changes(backend: Backend) -> None:
    other = CoefficientStore(backend)
    store = CoefficientStore(backend, RecentRecords(100, 60.0))
    other.apply([delta(0, 1, [1.0], entity_id="a")])
    assert store.look_up("member", ["a", "b"]).versions.tolist() == [1, 0]
    assert store.metrics.hit_rate == 0.0
    other.apply([delta(1, 2, [1.0], entity_id="a"), delta(0, 1, [1.0], entity_id="b")])
    assert store.look_up("member", ["a", "b"]).versions.tolist() == [1, 0]
    assert (store.metrics.cached, store.metrics.hit_rate) == (2, 0.5)
    # What it applies itself it sees at once.
    store.apply([delta(2, 3, [1.0], entity_id="a")])
    assert store.look_up("member", ["a", "b"]).versions.tolist() == [3, 0]


def test_the_newest_event_time_of_what_was_applied_is_known(store: CoefficientStore) -> None:
    store.apply([delta(0, 1, [1.0], newest_at=5_000), delta(0, 1, [1.0], entity_id="other", newest_at=4_000)])
    store.apply([delta(7, 8, [1.0], newest_at=9_000), tombstone("other")])
    assert store.metrics.newest_at == 5_000


@given(st.lists(st.integers(-(2**28), 2**28), min_size=1, max_size=8), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_server_that_starts_anywhere_and_gets_repeats_holds_the_same_bits(
    backend: Backend, changes: list[int], data: st.DataObject
) -> None:
    entity_id = next(NAMES)
    vectors = [total * 2.0**-24 for total in np.cumsum([0, *changes])]
    deltas = [
        delta(version, version + 1, [change * 2.0**-24], entity_id=entity_id) for version, change in enumerate(changes)
    ]
    store = CoefficientStore(backend)
    begins = data.draw(st.integers(0, len(changes)))
    if begins:
        store.apply([snapshot(begins, [vectors[begins]], entity_id=entity_id)])
    log: list[Change] = []
    for position in range(begins, len(changes)):
        log += [deltas[position], deltas[data.draw(st.integers(0, position))]]
    while log:
        size = data.draw(st.integers(1, len(log)))
        store.apply(log[:size])
        log = log[size:]
    coefficients = store.get("member", entity_id)
    assert coefficients is not None
    assert coefficients.version == len(changes)
    assert coefficients.vector.tobytes() == packed([vectors[-1]])
    assert store.metrics.gaps == 0


class Passing:
    """A backend in front of another, for tests that look at or change what goes through."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._backend.get_many(keys)

    def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Any:  # noqa: ANN401
        return self._backend.swap(swaps, positions)

    def positions(self) -> dict[Place, int]:
        return self._backend.positions()

    def followed(self, topic: str, topic_id: bytes) -> bytes:
        return self._backend.followed(topic, topic_id)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        return self._backend.scan()

    def close(self) -> None:
        self._backend.close()
