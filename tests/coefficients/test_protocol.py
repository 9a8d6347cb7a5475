"""What a server does with each change, and the vectors by which a server in another language can be checked."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from changes import delta, packed, snapshot, tombstone
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.coefficients import Coefficients, Renewal, Verdict, follow, read_delta, read_snapshot
from stream_qa.errors import InvalidEventError
from stream_qa.events import Decoder, Delta, Snapshot, wire

VECTORS = Path(__file__).parents[1] / "data" / "coefficient_protocol.json"
STORIES: list[dict[str, Any]] = orjson.loads(VECTORS.read_bytes())["stories"]


def held(version: int, vector: list[float], newest_at: int | None = None) -> Coefficients:
    return Coefficients(version, np.array(vector), version, newest_at or 1_000 + version, "model-1")


def bits(coefficients: Coefficients | None) -> tuple[object, ...] | None:
    return None if coefficients is None else (*coefficients._replace(vector=None), coefficients.vector.tobytes())  # type: ignore[arg-type]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: str(story["story"]))
def test_a_story_of_the_test_vectors_goes_as_it_says(story: dict[str, Any]) -> None:
    now: Coefficients | None = None
    for step in story["steps"]:
        read = read_delta if step["topic"] == "coefficients" else read_snapshot
        value = None if step["value"] is None else step["value"].encode()
        now, verdict = follow(now, read(step["key"].encode(), value))
        assert verdict == step["verdict"]
        expected = step["held"]
        if expected is None:
            assert now is None
            continue
        assert now is not None
        assert (now.version, now.labels, now.newest_at) == (
            expected["version"],
            expected["labels"],
            expected["newest_at"],
        )
        assert now.model_version == expected["model_version"]
        assert now.vector.tolist() == expected["vector"]
        # The same numbers as the bits of big-endian doubles, for readers of JSON that are not exact.
        assert [struct.pack(">d", number).hex() for number in now.vector] == expected["vector_bits"]


def test_the_test_vectors_have_every_verdict_and_every_kind_of_message() -> None:
    steps = [step for story in STORIES for step in story["steps"]]
    assert {step["verdict"] for step in steps} == set(Verdict)
    assert {(step["topic"], step["value"] is None) for step in steps} == {
        (topic, is_tombstone) for topic in ("coefficients", "coefficient-snapshots") for is_tombstone in (False, True)
    }


def test_the_schemas_of_record_read_what_the_stages_write() -> None:
    change = delta(0, 2, [0.5, -1.0, 2.0**-24])
    (found,) = Decoder(Delta).decode([wire.encode(change)])
    assert isinstance(found, Delta)
    assert found.change == [0.5, -1.0, 2.0**-24]
    assert wire.encode(change) == found.model_dump_json().encode()
    full = snapshot(2, [0.5, -1.0])
    (restored,) = Decoder(Snapshot).decode([wire.encode(full)])
    assert isinstance(restored, Snapshot)
    assert restored.coefficients == [0.5, -1.0]
    assert wire.encode(full) == restored.model_dump_json().encode()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_a_vector_is_read_back_bit_for_bit(numbers: list[float]) -> None:
    read = read_delta(b"member:m", wire.encode(delta(0, 1, numbers)))
    assert isinstance(read, wire.Delta)
    assert read.change == packed(numbers)


@pytest.mark.parametrize(
    ("base_version", "version", "verdict"),
    [
        (5, 6, Verdict.APPLIED),
        (5, 9, Verdict.APPLIED),
        (0, 5, Verdict.SKIPPED),
        (4, 5, Verdict.SKIPPED),
        (0, 1, Verdict.SKIPPED),
        (6, 7, Verdict.GAP),
        (4, 6, Verdict.GAP),
    ],
)
def test_a_delta_is_applied_on_top_of_the_held_version_only(base_version: int, version: int, verdict: Verdict) -> None:
    before = held(5, [1.0, 2.0])
    after, found = follow(before, delta(base_version, version, [0.5, -0.5]))
    assert found == verdict
    if verdict is Verdict.APPLIED:
        assert bits(after) == bits(held(version, [1.5, 1.5]))
    else:
        assert after is before


def test_without_anything_held_a_delta_begins_from_version_0_only() -> None:
    assert follow(None, delta(3, 4, [1.0])) == (None, Verdict.GAP)
    after, verdict = follow(None, delta(0, 4, [1.0]))
    assert verdict is Verdict.APPLIED
    assert bits(after) == bits(held(4, [1.0]))


def test_a_change_of_another_length_is_no_change_of_what_is_held() -> None:
    before = held(5, [1.0, 2.0])
    assert follow(before, delta(5, 6, [1.0])) == (before, Verdict.GAP)


@pytest.mark.parametrize(("version", "verdict"), [(4, "skipped"), (5, "skipped"), (6, "applied"), (60, "applied")])
def test_a_snapshot_takes_the_place_of_what_is_older(version: int, verdict: str) -> None:
    before = held(5, [1.0])
    after, found = follow(before, snapshot(version, [7.0]))
    assert found == verdict
    assert bits(after) == bits(held(version, [7.0]) if verdict == "applied" else before)


@pytest.mark.parametrize("version", [4, 5, 6])
def test_a_renewal_is_a_snapshot_of_what_is_held_and_begins_nothing(version: int) -> None:
    full = snapshot(version, [7.0])
    before = held(5, [1.0])
    after, verdict = follow(before, Renewal(full))
    expected, of_the_snapshot = follow(before, full)
    assert (bits(after), verdict) == (bits(expected), of_the_snapshot)
    assert follow(None, Renewal(full)) == (None, Verdict.SKIPPED)


def test_an_entity_that_comes_again_begins_anew() -> None:
    first_life = held(40, [1.0], newest_at=1_000)
    assert follow(first_life, tombstone()) == (None, Verdict.APPLIED)
    assert follow(None, tombstone()) == (None, Verdict.SKIPPED)
    for change in (delta(0, 2, [7.0], newest_at=9_000), snapshot(2, [7.0], newest_at=9_000)):
        # Where the tombstone was not seen, too.
        for before in (None, first_life):
            second_life, verdict = follow(before, change)
            assert verdict is Verdict.APPLIED
            assert bits(second_life) == bits(held(2, [7.0], newest_at=9_000))


def test_what_is_left_of_a_former_life_is_skipped() -> None:
    second_life = held(2, [7.0], newest_at=9_000)
    for change in (delta(2, 3, [1.0], newest_at=900), delta(0, 3, [1.0], newest_at=900), snapshot(40, [1.0])):
        assert follow(second_life, change) == (second_life, Verdict.SKIPPED)


@pytest.mark.parametrize("value", ["", "[]", '{"entity_kind": "member"}'])
def test_what_is_no_message_is_refused(value: str) -> None:
    for read in (read_delta, read_snapshot):
        with pytest.raises(InvalidEventError):
            read(b"member:m", value.encode())


@pytest.mark.parametrize("wrong", [packed([float("nan")]), packed([1.0, float("inf")]), packed([1.0])[:-1]])
def test_a_vector_that_is_not_of_finite_numbers_is_refused(wrong: bytes) -> None:
    broken_delta = wire.Delta("member", "m", 0, 1, wrong, "model-1", 1, 1)
    broken_snapshot = wire.Snapshot("member", "m", 1, wrong, "model-1", 1, 1)
    with pytest.raises(InvalidEventError, match="vector"):
        read_delta(b"member:m", wire.encode(broken_delta))
    with pytest.raises(InvalidEventError, match="vector"):
        read_snapshot(b"member:m", wire.encode(broken_snapshot))
    assert isinstance(Decoder(Delta).decode([wire.encode(broken_delta)])[0], InvalidEventError)
    assert isinstance(Decoder(Snapshot).decode([wire.encode(broken_snapshot)])[0], InvalidEventError)


@pytest.mark.parametrize("key", [None, b"", b"m-1", b"company:m-1", b"member:", b"\xff"])
def test_a_tombstone_needs_the_key_of_an_entity(key: bytes | None) -> None:
    with pytest.raises(InvalidEventError, match="key"):
        read_delta(key, None)


def test_an_id_may_have_a_colon() -> None:
    assert read_snapshot(b"job:a:b", None) == tombstone("a:b", "job")
