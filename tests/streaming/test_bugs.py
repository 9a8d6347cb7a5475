"""When a stage's code fails: the record is found, and either the worker stops at it or it is kept and passed."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.errors import ChunkError, DiskError, PoisonousRecordError
from stream_qa.events import Message, Record, SourceRecord
from stream_qa.events.dead_letter import EXCEPTION_CLASS, EXCEPTION_MESSAGE, OFFSET, PARTITION, STAGE, TOPIC
from stream_qa.stages.state import MemoryState, Outcome, StateReader
from stream_qa.streaming.bugs import guarded

POISON = b"poison"


def count(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
    """Give the records numbers, from the state on; fail on poison."""
    (seen,) = state.get_many([b"seen"])
    number = int(seen or b"0")
    messages = []
    for record in records:
        if record.value == POISON:
            raise KeyError("a bug")
        number += 1
        messages.append(Message("out", record.key, b"%d" % number))
    return Outcome(
        {b"seen": b"%d" % number},
        messages,
        counted={"seen": len(records)},
        lessons=2 * len(records),
        reasons={"numbered": len(records)},
        ages=[record.offset for record in records],
        delta_times=[np.array([record.offset for record in records])],
    )


def records(values: Sequence[bytes]) -> list[Record]:
    """Return records with these values, the first at offset 100."""
    return [Record("labels", 3, 100 + place, b"key", value, [("trace", b"x")]) for place, value in enumerate(values)]


def test_what_the_stage_leaves_in_the_search_is_left() -> None:
    """A record that fails may wait behind what has fallen due: it is found when its turn comes."""

    def two_at_most(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
        count(records, state)
        return count(records[:2], state)._replace(left=max(0, len(records) - 2))

    state, left, letters = MemoryState(), records([b"good"] * 5 + [POISON, b"good"]), []
    while left:
        outcome = guarded("member", two_at_most, "dead-letters")(left, state)
        state.apply(outcome.changes)
        letters += [message for message in outcome.messages if message.topic == "dead-letters"]
        assert outcome.left < len(left)
        left = left[len(left) - outcome.left :]
    assert state.get_many([b"seen"]) == [b"6"]
    assert [letter.key for letter in letters] == [b"key"]


@given(st.lists(st.sampled_from([b"good", POISON]), max_size=20))
def test_all_but_the_poisonous_records_are_processed_as_if_those_were_not_there(values: list[bytes]) -> None:
    state = MemoryState()
    state.apply({b"seen": b"5"})
    chunk = records(values)
    outcome = guarded("member", count, "dead-letters")(chunk, state)

    good = [record for record in chunk if record.value != POISON]
    expected = count(good, state)
    assert [message for message in outcome.messages if message.topic == "out"] == expected.messages
    assert outcome.changes.get(b"seen", b"5") == expected.changes[b"seen"]
    assert (outcome.counted.get("seen", 0), outcome.lessons) == (len(good), 2 * len(good))
    assert (outcome.reasons.get("numbered", 0), outcome.ages) == (len(good), expected.ages)
    assert [time for times in outcome.delta_times for time in times.tolist()] == expected.ages
    letters = [message for message in outcome.messages if message.topic == "dead-letters"]
    assert [int(dict(letter.headers)[OFFSET] or b"") for letter in letters] == [
        record.offset for record in chunk if record.value == POISON
    ]
    assert state.get_many([b"seen"]) == [b"5"]


def test_a_poisonous_record_is_kept_with_its_bytes_and_the_reason() -> None:
    outcome = guarded("member", count, "dead-letters")(records([b"good", POISON]), MemoryState())
    (letter,) = (message for message in outcome.messages if message.topic == "dead-letters")
    assert (letter.key, letter.value, letter.headers[0]) == (b"key", POISON, ("trace", b"x"))
    headers = dict(letter.headers)
    assert (headers[STAGE], headers[TOPIC], headers[PARTITION], headers[OFFSET]) == (b"member", b"labels", b"3", b"101")
    assert headers[EXCEPTION_CLASS] == b"stream_qa.errors.PoisonousRecordError"
    assert b"KeyError: 'a bug'" in (headers[EXCEPTION_MESSAGE] or b"")


def test_to_stop_is_to_name_the_record() -> None:
    with pytest.raises(PoisonousRecordError, match="the member stage fails on the record of labels-3 at offset 102"):
        guarded("member", count, None)(records([b"good", b"good", POISON, b"good"]), MemoryState())


@pytest.mark.parametrize("dead_letters", [None, "dead-letters"])
def test_what_fails_on_no_record_alone_stops_whatever_was_asked_for(dead_letters: str | None) -> None:
    def dislikes_pairs(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
        if len(records) > 1:
            raise ZeroDivisionError
        return count(records, state)

    with pytest.raises(ChunkError, match="labels-3 from offset 100 to 102"):
        guarded("member", dislikes_pairs, dead_letters)(records([b"good"] * 3), MemoryState())


def test_an_error_of_the_disk_is_no_bug() -> None:
    def fails(_records: Sequence[SourceRecord], _state: StateReader) -> Outcome:
        raise DiskError("full")

    with pytest.raises(DiskError):
        guarded("member", fails, "dead-letters")(records([b"good"]), MemoryState())


def test_where_nothing_fails_the_outcome_is_the_stages_own() -> None:
    chunk = records([b"good", b"good"])
    outcome = count(chunk, MemoryState())
    assert guarded("member", lambda _records, _state: outcome, None)(chunk, MemoryState()) is outcome
