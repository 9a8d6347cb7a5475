"""The packed records of a learner's table and the order of their keys."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_qa.errors import RuleMismatchError, StateFormatError
from stream_qa.learning import SGD, AdaptiveSGD, Rule, Window
from stream_qa.learning.entity import (
    DIMENSION,
    FORMAT,
    LAYOUT,
    RecordType,
    clock_key,
    contribution_key,
    contribution_range,
    contribution_type,
    entity_key,
    entity_type,
    pack_layout,
    pack_many,
    unpack_layout,
    unpack_many,
)

RULE = AdaptiveSGD()
RULES: list[Rule] = [RULE, SGD(), Window()]
KINDS = [make(rule, 3) for rule in RULES for make in (entity_type, contribution_type)]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.rule}-{'value' in kind.dtype.names}")
#: Written by the version before format 2: an entity and the contribution of its second label, of 3 coefficients.
ENTITY_1 = bytes.fromhex(
    "0103000200000000000000020000000000000000d0c0959b0100003e548e87e686ae3f7655071b62f5ba3f021fe2aa7f"
    "c5c3bf4192c708331eb43f24798c30e341b03f261282a7e587aa3f"
)
CONTRIBUTION_1 = bytes.fromhex(
    "010300010000000000000000000000000000e03f717719b8f53bd03ffa09170aea8fafbf98662db7185890bf17c57391a0aab7bf"
)
NEWEST_AT_1 = 1_767_744_000_000
FIRST_1, SECOND_1 = (np.array([1.0, *features]) * [0.5, 0.25, 0.25] for features in ((2.0, -1.0), (0.5, 3.0)))
"""The whitened features of its labels: one of value 1, one of value 0 and weight ½."""
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
    array = unpack_many(entity_type(RULE, 3), [None] * len(entities))
    for row, (version, labels, coefficients, squares) in enumerate(entities):
        array[row]["version"], array[row]["labels"] = version, labels
        array[row]["coefficients"], array[row]["squares"] = coefficients, squares
    assert unpack_many(entity_type(RULE, 3), pack_many(array)).tobytes() == array.tobytes()


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
    array = unpack_many(contribution_type(RULE, 3), [None])
    array[0]["revision"], array[0]["value"], array[0]["weight"] = revision, value, weight
    array[0]["gradient"], array[0]["step"] = gradient, step
    again = unpack_many(contribution_type(RULE, 3), pack_many(array))
    assert again.tobytes() == array.tobytes()
    assert (again[0]["revision"], again[0]["value"], again[0]["weight"]) == (revision, value, weight)


def test_zeros_at_the_end_take_no_room() -> None:
    kind = entity_type(RULE, 1_000)
    array = unpack_many(kind, [None])
    array[0]["version"] = 1
    (packed,) = pack_many(array)
    assert len(packed) < 30
    assert unpack_many(kind, [packed]).tobytes() == array.tobytes()


def test_a_missing_record_is_zeros_with_an_unknown_value() -> None:
    (entity,) = unpack_many(entity_type(RULE, 2), [None])
    assert [entity[name].tolist() for name in ("version", "labels", "newest_at")] == [0, 0, 0]
    assert entity["coefficients"].tolist() == entity["squares"].tolist() == [0, 0]
    (contribution,) = unpack_many(contribution_type(RULE, 2), [None])
    assert contribution["value"] == -1
    assert [contribution[name].tolist() for name in ("revision", "weight", "gradient")] == [0, 0, 0]
    assert contribution["step"].tolist() == [0, 0]


def test_a_stored_value_of_zero_is_not_unknown() -> None:
    array = unpack_many(contribution_type(RULE, 2), [None])
    array[0]["value"] = 0
    assert unpack_many(contribution_type(RULE, 2), pack_many(array))[0]["value"] == 0


def test_no_records_are_an_empty_array() -> None:
    for kind in KINDS:
        assert unpack_many(kind, []).shape == (0,)
        assert pack_many(unpack_many(kind, [])) == []


@each_kind
@pytest.mark.parametrize("wrong", sorted({0, FORMAT + 1, 0x7B, 0xFF}))
def test_another_format_is_refused(kind: RecordType, wrong: int) -> None:
    (packed,) = pack_many(unpack_many(kind, [None]))
    with pytest.raises(StateFormatError, match=f"not of format {FORMAT} with 3 coefficients"):
        unpack_many(kind, [packed, bytes([wrong]) + packed[1:]])


@pytest.mark.parametrize("make", [entity_type, contribution_type], ids=["entity", "contribution"])
@pytest.mark.parametrize("dimension", [1, 2, 4, 11])
@pytest.mark.parametrize("full", [False, True], ids=["of zeros", "without zeros"])
def test_another_number_of_coefficients_is_refused(
    make: Callable[[Rule, int], RecordType], dimension: int, *, full: bool
) -> None:
    array = unpack_many(make(RULE, dimension), [None])
    if full:
        array["step" if "step" in (array.dtype.names or ()) else "coefficients"] = 1.5
        array["squares" if "squares" in (array.dtype.names or ()) else "gradient"] = 1.5
    with pytest.raises(StateFormatError):
        unpack_many(make(RULE, 3), [None, *pack_many(array)])


@each_kind
def test_a_record_that_is_too_long_is_refused(kind: RecordType) -> None:
    (packed,) = pack_many(unpack_many(kind, [None]))
    for more in (1, kind.dtype.itemsize):
        with pytest.raises(StateFormatError):
            unpack_many(kind, [packed.ljust(kind.dtype.itemsize + more, b"\1"), None])


@pytest.mark.parametrize("make", [entity_type, contribution_type], ids=["entity", "contribution"])
@pytest.mark.parametrize("of", RULES, ids=lambda rule: str(rule.number))
@pytest.mark.parametrize("by", RULES, ids=lambda rule: str(rule.number))
def test_what_another_rule_has_learned_is_refused(make: Callable[[Rule, int], RecordType], of: Rule, by: Rule) -> None:
    array = unpack_many(make(of, 3), [None])
    # Full, so that its length is another too.
    names = array.dtype.names or ()
    array[names[-1]] = 1.0
    packed = pack_many(array)
    if of is by:
        assert unpack_many(make(by, 3), [None, *packed])[1:].tobytes() == array.tobytes()
        return
    reason = f"learned by {of.number}, and STREAM_QA_LEARNING_RULE is {by.number}"
    with pytest.raises(RuleMismatchError, match=reason):
        unpack_many(make(by, 3), [None, *packed])


def test_a_rule_that_is_not_known_yet_is_refused() -> None:
    kind = entity_type(RULE, 3)
    (packed,) = pack_many(unpack_many(kind, [None]))
    with pytest.raises(RuleMismatchError, match="learned by rule 77, which is not known here"):
        unpack_many(kind, [packed[:1] + bytes([77]) + packed[2:]])


def test_an_entity_of_format_1_is_read_as_it_was_meant() -> None:
    new, entity = unpack_many(entity_type(RULE, 3), [None, ENTITY_1])
    assert (entity["version"], entity["labels"], entity["newest_at"]) == (2, 2, NEWEST_AT_1)
    # The steps: for each of its labels half the gradient over the root of 1 and all squares up to it.
    first = 0.5 * 0.5 * FIRST_1 / np.sqrt(1 + (0.5 * FIRST_1) ** 2)
    chance = 1 / (1 + np.exp(-first @ SECOND_1))
    squares = (0.5 * FIRST_1) ** 2 + (0.5 * chance * SECOND_1) ** 2
    second = -0.5 * (0.5 * chance * SECOND_1 + 0.01 * first) / np.sqrt(1 + squares)
    assert entity["coefficients"] == pytest.approx(first + second, abs=1e-12)
    assert entity["squares"] == pytest.approx(squares, abs=1e-12)
    assert (entity["decay"], new["version"]) == (0, 0)
    (contribution,) = unpack_many(contribution_type(RULE, 3), [CONTRIBUTION_1])
    assert (contribution["revision"], contribution["value"], contribution["weight"]) == (1, 0, 0.5)
    assert contribution["gradient"] == pytest.approx(0.5 * chance, abs=1e-12)
    assert contribution["step"] == pytest.approx(second, abs=1e-12)
    assert contribution["decay"] == 0


def test_what_was_read_in_format_1_is_written_in_the_present_one() -> None:
    kind = entity_type(RULE, 3)
    migrated = unpack_many(kind, [ENTITY_1])
    (packed,) = pack_many(migrated)
    assert packed[0] == FORMAT
    assert unpack_many(kind, [packed]).tobytes() == migrated.tobytes()


@each_kind
def test_a_record_of_format_2_is_one_of_the_first_model(kind: RecordType) -> None:
    filled = np.frombuffer(bytes(1 + place % 200 for place in range(kind.dtype.itemsize)), kind.dtype).copy()
    filled["format"], filled["rule"], filled["dimension"], filled["model"] = FORMAT, kind.rule, 3, 0
    (packed,) = pack_many(filled)
    read = unpack_many(kind, [bytes([2]) + packed[1:]])
    assert read.tobytes() == filled.tobytes()


@pytest.mark.parametrize("make", [entity_type, contribution_type], ids=["entity", "contribution"])
def test_format_1_of_other_rules_or_other_features_is_refused(make: Callable[[Rule, int], RecordType]) -> None:
    record = ENTITY_1 if make is entity_type else CONTRIBUTION_1
    for rule in RULES[1:]:
        with pytest.raises(RuleMismatchError):
            unpack_many(make(rule, 3), [record])
    for dimension in (2, 4):
        with pytest.raises(StateFormatError):
            unpack_many(make(RULE, dimension), [record])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.number))
def test_a_table_says_how_many_coefficients_it_has_and_which_rule_learned_them(rule: Rule) -> None:
    assert unpack_layout(rule, None, None) is None
    assert unpack_layout(rule, pack_layout(rule, 300), None) == 300
    for other in RULES:
        if other is not rule:
            with pytest.raises(RuleMismatchError, match=f"is {rule.number}"):
                unpack_layout(rule, pack_layout(other, 300), None)


def test_a_table_of_format_1_is_one_of_the_adaptive_rule() -> None:
    assert unpack_layout(RULE, None, b"\1\4") == 260
    with pytest.raises(RuleMismatchError):
        unpack_layout(Window(), None, b"\1\4")


def test_a_table_of_a_newer_format_is_refused_whatever_it_is() -> None:
    for layout in (bytes([FORMAT + 1, 1, 3, 0]), bytes([FORMAT + 1]), bytes([FORMAT + 1]) + bytes(40)):
        with pytest.raises(StateFormatError, match=f"format {FORMAT + 1}, and {FORMAT} is read"):
            unpack_layout(RULE, layout, None)


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
    for key in (entity_key(identifier), clock_key(other), DIMENSION, LAYOUT, b"\x00position/" + identifier.encode()):
        assert not start <= key < end


@given(st.sets(st.tuples(origins, moments, identifiers), max_size=12), st.sets(identifiers), st.sets(origins))
def test_no_two_keys_are_alike(applications: set[tuple[int, int, str]], entity_ids: set[str], clocks: set[int]) -> None:
    keys = [contribution_key(*application) for application in applications]
    keys += [entity_key(entity_id) for entity_id in entity_ids]
    keys += [clock_key(origin) for origin in clocks]
    keys += [DIMENSION, LAYOUT]
    assert len(set(keys)) == len(keys)
