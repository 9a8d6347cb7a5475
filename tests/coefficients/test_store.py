"""What a server holds, by the protocol of deltas and snapshots."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.coefficients import Coefficients, CoefficientStore
from stream_qa.events import Delta, EntityKind, Snapshot


def delta(
    base_version: int,
    version: int,
    change: list[float],
    *,
    entity_id: str = "entity-1",
    entity_kind: EntityKind = "member",
) -> Delta:
    return Delta(
        entity_kind=entity_kind,
        entity_id=entity_id,
        base_version=base_version,
        version=version,
        change=change,
        model_version="none",
        labels=version,
        newest_at=1_000 + version,
    )


def snapshot(version: int, coefficients: list[float]) -> Snapshot:
    return Snapshot(
        entity_kind="member",
        entity_id="entity-1",
        version=version,
        coefficients=coefficients,
        model_version="none",
        labels=version,
        newest_at=1_000 + version,
    )


def held(store: CoefficientStore) -> tuple[int, list[float], int, int]:
    coefficients = store.get("member", "entity-1")
    assert isinstance(coefficients, Coefficients)
    return coefficients.version, coefficients.vector.tolist(), coefficients.labels, coefficients.newest_at


def test_an_entity_that_has_not_learned_is_unknown() -> None:
    assert CoefficientStore().get("member", "entity-1") is None
    assert len(CoefficientStore()) == 0


def test_a_delta_on_top_of_the_held_version_is_added() -> None:
    store = CoefficientStore()
    assert store.apply(delta(0, 2, [0.5, -1.0]))
    assert store.apply(delta(2, 3, [0.25, 0.5]))
    assert held(store) == (3, [0.75, -0.5], 3, 1_003)


def test_a_delta_at_or_below_the_held_version_is_skipped() -> None:
    store = CoefficientStore()
    store.apply(delta(0, 3, [1.0]))
    for base_version, version in [(0, 3), (2, 3), (0, 1), (1, 2)]:
        assert not store.apply(delta(base_version, version, [7.0]))
    assert held(store) == (3, [1.0], 3, 1_003)
    assert store.gaps == 0


def test_over_a_gap_the_old_vector_is_served() -> None:
    store = CoefficientStore()
    store.apply(delta(0, 1, [1.0]))
    assert not store.apply(delta(2, 3, [7.0]))
    assert not store.apply(delta(3, 4, [7.0]))
    assert held(store) == (1, [1.0], 1, 1_001)
    assert store.gaps == 2


def test_an_entity_whose_first_deltas_are_missing_is_unknown() -> None:
    store = CoefficientStore()
    assert not store.apply(delta(4, 5, [7.0]))
    assert store.get("member", "entity-1") is None
    assert store.gaps == 1


def test_a_snapshot_heals_a_gap() -> None:
    store = CoefficientStore()
    store.apply(delta(0, 1, [1.0]))
    store.apply(delta(2, 3, [7.0]))
    assert store.restore(snapshot(4, [3.0]))
    assert store.apply(delta(4, 5, [0.5]))
    assert held(store) == (5, [3.5], 5, 1_005)


def test_a_snapshot_starts_a_server() -> None:
    store = CoefficientStore()
    assert store.restore(snapshot(20, [3.0]))
    assert not store.apply(delta(19, 20, [7.0]))
    assert store.apply(delta(20, 21, [1.0]))
    assert held(store) == (21, [4.0], 21, 1_021)


@pytest.mark.parametrize("version", [1, 3])
def test_a_snapshot_at_or_below_the_held_version_is_skipped(version: int) -> None:
    store = CoefficientStore()
    store.apply(delta(0, 3, [1.0]))
    assert not store.restore(snapshot(version, [7.0]))
    assert held(store) == (3, [1.0], 3, 1_003)


def test_members_and_jobs_of_one_id_are_apart() -> None:
    store = CoefficientStore()
    store.apply(delta(0, 1, [1.0], entity_id="7", entity_kind="member"))
    store.apply(delta(0, 1, [2.0], entity_id="7", entity_kind="job"))
    member, job = store.get("member", "7"), store.get("job", "7")
    assert member is not None
    assert job is not None
    assert (member.vector.tolist(), job.vector.tolist(), len(store)) == ([1.0], [2.0], 2)


def test_a_vector_that_was_handed_out_does_not_change() -> None:
    store = CoefficientStore()
    store.apply(delta(0, 1, [1.0]))
    before = store.get("member", "entity-1")
    store.apply(delta(1, 2, [1.0]))
    assert before is not None
    assert before.vector.tolist() == [1.0]


steps = st.lists(st.integers(-(2**28), 2**28), min_size=1, max_size=8)


@given(steps, st.data())
def test_a_server_that_starts_anywhere_and_gets_repeats_holds_the_same_bits(
    changes: list[int], data: st.DataObject
) -> None:
    vectors = [np.array([total * 2.0**-24]) for total in np.cumsum([0, *changes])]
    deltas = [delta(version, version + 1, [change * 2.0**-24]) for version, change in enumerate(changes)]
    store = CoefficientStore()
    begins = data.draw(st.integers(0, len(changes)))
    if begins:
        store.restore(snapshot(begins, vectors[begins].tolist()))
    for position in range(begins, len(changes)):
        store.apply(deltas[position])
        store.apply(deltas[data.draw(st.integers(0, position))])
    coefficients = store.get("member", "entity-1")
    assert coefficients is not None
    assert coefficients.version == len(changes)
    assert np.array_equal(coefficients.vector, vectors[-1])
    assert store.gaps == 0
