"""The packed records of a learner's table and the order of their keys."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_qa.errors import StateFormatError
from stream_qa.learning.entity import (
    DIMENSION,
    FORMAT,
    clock_key,
    contribution_key,
    contribution_range,
    contribution_type,
    entity_key,
    entity_type,
    pack_many,
    unpack_many,
)

KINDS = [entity_type(3), contribution_type(3)]
identifiers = st.text(min_size=1, max_size=8)
origins = st.integers(0, 2**31 - 1) | st.integers(0, 3)
moments = st.integers(0, 253_402_300_799_999) | st.integers(0, 20)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**53),
            st.integers(0, 2**53),
            st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
            st.lists(st.floats(0, 1e300), min_size=3, max_size=3),
        ),
        max_size=4,
    )
)
def test_entities_come_back_as_they_were_packed(
    entities: list[tuple[int, int, list[float], list[float]]],
) -> None:
    array = unpack_many(entity_type(3), [None] * len(entities))
    for row, (version, labels, coefficients, squares) in enumerate(entities):
        array[row]["version"], array[row]["labels"] = version, labels
        array[row]["coefficients"], array[row]["squares"] = coefficients, squares
    assert unpack_many(entity_type(3), pack_many(array)).tobytes() == array.tobytes()


@given(
    st.integers(1, 2**53),
    st.sampled_from([-1, 0, 1]),
    st.floats(0, 1),
    st.floats(-1, 1),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
)
def test_contributions_come_back_as_they_were_packed(
    revision: int, value: int, weight: float, gradient: float, step: list[float]
) -> None:
    array = unpack_many(contribution_type(3), [None])
    array[0]["revision"], array[0]["value"], array[0]["weight"] = revision, value, weight
    array[0]["gradient"], array[0]["step"] = gradient, step
    again = unpack_many(contribution_type(3), pack_many(array))
    assert again.tobytes() == array.tobytes()
    assert (again[0]["revision"], again[0]["value"], again[0]["weight"]) == (revision, value, weight)


def test_zeros_at_the_end_take_no_room() -> None:
    kind = entity_type(1_000)
    array = unpack_many(kind, [None])
    array[0]["version"] = 1
    (packed,) = pack_many(array)
    assert len(packed) < 30
    assert unpack_many(kind, [packed]).tobytes() == array.tobytes()


def test_a_missing_record_is_zeros_with_an_unknown_value() -> None:
    (entity,) = unpack_many(entity_type(2), [None])
    assert [entity[name].tolist() for name in ("version", "labels", "newest_at")] == [0, 0, 0]
    assert entity["coefficients"].tolist() == entity["squares"].tolist() == [0, 0]
    (contribution,) = unpack_many(contribution_type(2), [None])
    assert contribution["value"] == -1
    assert [contribution[name].tolist() for name in ("revision", "weight", "gradient")] == [0, 0, 0]
    assert contribution["step"].tolist() == [0, 0]


def test_a_stored_value_of_zero_is_not_unknown() -> None:
    array = unpack_many(contribution_type(2), [None])
    array[0]["value"] = 0
    assert unpack_many(contribution_type(2), pack_many(array))[0]["value"] == 0


def test_no_records_are_an_empty_array() -> None:
    for kind in KINDS:
        assert unpack_many(kind, []).shape == (0,)
        assert pack_many(unpack_many(kind, [])) == []


@pytest.mark.parametrize("kind", KINDS, ids=["entity", "contribution"])
@pytest.mark.parametrize("wrong", sorted({0, FORMAT + 1, 0x7B, 0xFF}))
def test_another_format_is_refused(kind: np.dtype[np.void], wrong: int) -> None:
    (packed,) = pack_many(unpack_many(kind, [None]))
    with pytest.raises(StateFormatError, match=f"not of format {FORMAT} with 3 coefficients"):
        unpack_many(kind, [packed, bytes([wrong]) + packed[1:]])


@pytest.mark.parametrize("make", [entity_type, contribution_type], ids=["entity", "contribution"])
@pytest.mark.parametrize("dimension", [1, 2, 4, 11])
@pytest.mark.parametrize("full", [False, True], ids=["of zeros", "without zeros"])
def test_another_number_of_coefficients_is_refused(
    make: Callable[[int], np.dtype[np.void]], dimension: int, *, full: bool
) -> None:
    array = unpack_many(make(dimension), [None])
    if full:
        array["step" if "step" in (array.dtype.names or ()) else "coefficients"] = 1.5
        array["squares" if "squares" in (array.dtype.names or ()) else "gradient"] = 1.5
    with pytest.raises(StateFormatError):
        unpack_many(make(3), [None, *pack_many(array)])


@pytest.mark.parametrize("kind", KINDS, ids=["entity", "contribution"])
def test_a_record_that_is_too_long_is_refused(kind: np.dtype[np.void]) -> None:
    (packed,) = pack_many(unpack_many(kind, [None]))
    for more in (1, kind.itemsize):
        with pytest.raises(StateFormatError):
            unpack_many(kind, [packed.ljust(kind.itemsize + more, b"\1"), None])


@given(st.lists(st.tuples(origins, moments, identifiers), max_size=12), origins, moments, moments)
@example([(0, 0, "a"), (0, 1, "b")], 0, 0, 0)
@example([(1, 5, "a"), (2, 5, "b"), (1, 6, "\U0010ffff")], 1, 4, 6)
def test_a_contribution_range_covers_exactly_the_applications_of_its_origin_and_time(
    applications: list[tuple[int, int, str]], origin: int, since: int, until: int
) -> None:
    start, end = contribution_range(origin, since, until)
    for of, applied_at, application_id in applications:
        covered = start <= contribution_key(of, applied_at, application_id) < end
        assert covered == (of == origin and since < applied_at <= until)


@given(origins, st.integers(-(2**50), -1), moments, identifiers)
def test_a_range_from_before_all_time_covers_the_first_moment(
    origin: int, since: int, until: int, application_id: str
) -> None:
    start, end = contribution_range(origin, since, until)
    assert start <= contribution_key(origin, 0, application_id) < end
    assert start <= contribution_key(origin, until, application_id) < end
    assert not contribution_key(origin, until + 1, application_id) < end


@given(origins, st.integers(-(2**50), -1), st.integers(-(2**50), -1))
def test_a_range_before_all_time_is_empty(origin: int, since: int, until: int) -> None:
    start, end = contribution_range(origin, since, until)
    assert start == end


@given(origins, moments, identifiers, origins, moments)
def test_nothing_else_of_the_table_lies_in_a_contribution_range(
    origin: int, until: int, identifier: str, other: int, since: int
) -> None:
    start, end = contribution_range(origin, since, until)
    for key in (entity_key(identifier), clock_key(other), DIMENSION, b"\x00position/" + identifier.encode()):
        assert not start <= key < end


@given(st.sets(st.tuples(origins, moments, identifiers), max_size=12), st.sets(identifiers), st.sets(origins))
def test_no_two_keys_are_alike(applications: set[tuple[int, int, str]], entity_ids: set[str], clocks: set[int]) -> None:
    keys = [contribution_key(*application) for application in applications]
    keys += [entity_key(entity_id) for entity_id in entity_ids]
    keys += [clock_key(origin) for origin in clocks]
    keys.append(DIMENSION)
    assert len(set(keys)) == len(keys)
