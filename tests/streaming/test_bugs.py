"""When a stage's code fails: the record is found, and either the worker stops at it or it is kept and passed."""

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from builders import DAY, START, application, as_records, engagement, label
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.errors import ChunkError, DiskError, PoisonousRecordError
from stream_qa.events import Message, Record, SourceRecord
from stream_qa.events.dead_letter import EXCEPTION_CLASS, EXCEPTION_MESSAGE, OFFSET, PARTITION, STAGE, TOPIC
from stream_qa.labels.event_time import life_cycle_key
from stream_qa.settings import Settings
from stream_qa.stages.label import LabelStage
from stream_qa.stages.label_chunk import LabelChunk, Revision
from stream_qa.stages.models import Model
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState, Outcome, StateReader
from stream_qa.streaming.bugs import Process, guarded

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


def test_what_fails_without_any_record_stops_as_well_and_the_log_says_where(caplog: pytest.LogCaptureFixture) -> None:
    """Each of the records would be blamed for it, one after the other, until the topic is in the dead letters."""

    def sweeps(_records: Sequence[SourceRecord], _state: StateReader) -> Outcome:
        raise ZeroDivisionError

    for chunk in (records([b"good"] * 3), records([b"good"]), []):
        caplog.clear()
        with pytest.raises(ChunkError, match="the member stage fails without any record"):
            guarded("member", sweeps, "dead-letters")(chunk, MemoryState())
        assert any(
            record.levelno == logging.ERROR and record.exc_info and record.exc_info[0] is ZeroDivisionError
            for record in caplog.records
        )


def test_what_is_left_to_do_is_not_forgotten_over_a_poisonous_record() -> None:
    def sweeps(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
        (place,) = state.get_many([b"place"])
        return count(records, state)._replace(changes={b"place": b"%d" % (int(place or b"0") + 1)}, unfinished=True)

    outcome = guarded("member", sweeps, "dead-letters")(records([POISON]), MemoryState())
    assert outcome.unfinished
    assert (outcome.changes, len(outcome.messages)) == ({b"place": b"1"}, 1)


def fail(*_arguments: object) -> None:
    raise ZeroDivisionError


def fail_on_old(application_id: str) -> None:
    if application_id == "old":
        raise ZeroDivisionError


@pytest.fixture
def closing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a bug in the end of the window of ``old``."""
    close = LabelChunk._close

    def fails(chunk: LabelChunk, application_id: str) -> None:
        fail_on_old(application_id)
        close(chunk, application_id)

    monkeypatch.setattr(LabelChunk, "_close", fails)


def label_worker() -> tuple[Process, MemoryState]:
    """Return a label stage with a guard, and its table: the window of one application, ``old``, is open."""
    stage, state = build_pipeline(Settings()).label, MemoryState()
    process = guarded("label", lambda records, state: stage.process(0, records, state, MemoryState()), "dead-letters")
    state.apply(process(as_records([application("old"), engagement("note", application_id="old")]), state).changes)
    return process, state


def on_days(*days: int) -> list[Record]:
    """Return events of new applications, which move event time on."""
    moments = [START + day * DAY for day in days]
    return as_records(
        [
            event
            for moment in moments
            for event in (
                application(f"new-{moment}", applied_at=moment),
                engagement("note", application_id=f"new-{moment}", engaged_at=moment),
            )
        ]
    )


@pytest.mark.usefixtures("closing_fails")
def test_what_falls_due_is_not_blamed_on_the_record_that_brings_event_time_so_far() -> None:
    """No record can be gone around for an application of long ago, of which the window closes."""
    process, state = label_worker()
    with pytest.raises(ChunkError, match="the label stage fails on what has fallen due"):
        process(on_days(15, 16, 17), state)


@pytest.mark.usefixtures("closing_fails")
def test_what_falls_due_of_a_records_own_application_is_blamed_on_it() -> None:
    """One that comes after its window has closed: without it nothing is due."""
    stage, state = build_pipeline(Settings()).label, MemoryState()
    process = guarded("label", lambda records, state: stage.process(0, records, state, MemoryState()), "dead-letters")
    state.apply(process(on_days(15), state).changes)
    outcome = process([*as_records([application("old")]), *on_days(16)], state)
    assert [message.key for message in outcome.messages if message.topic == "dead-letters"] == [b"job-1"]
    assert len([message for message in outcome.messages if message.topic == "labels"]) == 1


def test_the_label_of_what_falls_due_is_no_records_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a newer model cannot score an application that an older one has scored."""
    process, state = label_worker()
    write = LabelStage._label

    def fails(
        stage: LabelStage, model: Model, partition: int, revision: Revision, parts: tuple[float, float, int]
    ) -> Message:
        fail_on_old(revision.application.application_id)
        return write(stage, model, partition, revision, parts)

    monkeypatch.setattr(LabelStage, "_label", fails)
    with pytest.raises(ChunkError, match="the label stage fails on what has fallen due"):
        process(on_days(15, 16, 17), state)
    outcome = process(as_records([engagement("message", application_id="old")]), state)
    assert [message.topic for message in outcome.messages] == ["dead-letters"]


def test_life_cycles_that_cannot_be_read_when_they_fall_due_are_no_records_fault() -> None:
    process, state = label_worker()
    state.apply({life_cycle_key("old"): b"\x02\x00"})
    with pytest.raises(ChunkError, match="the label stage fails on what has fallen due"):
        process(on_days(15, 16, 17), state)
    outcome = process(as_records([engagement("message", application_id="old")]), state)
    assert [message.topic for message in outcome.messages] == ["dead-letters"]


def test_a_sweep_is_not_blamed_on_the_label_that_begins_its_day(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, state = build_pipeline(Settings(idle_days=60)).member, MemoryState()
    process = guarded("member", lambda records, state: stage.process(0, records, state), "dead-letters")
    state.apply(process(as_records([label("old", value=1, watermark=START)]), state).changes)
    monkeypatch.setattr("stream_qa.stages.expiry.unpack_many", fail)
    assert not process([], state).messages
    moment = START + 70 * DAY
    later = [label(f"{number}", value=1, applied_at=moment, happened_at=moment, watermark=moment) for number in (1, 2)]
    with pytest.raises(ChunkError, match="the member stage fails on a sweep"):
        process(as_records(later), state)


def test_an_error_of_the_disk_is_no_bug() -> None:
    def fails(_records: Sequence[SourceRecord], _state: StateReader) -> Outcome:
        raise DiskError("full")

    with pytest.raises(DiskError):
        guarded("member", fails, "dead-letters")(records([b"good"]), MemoryState())


def test_where_nothing_fails_the_outcome_is_the_stages_own() -> None:
    chunk = records([b"good", b"good"])
    outcome = count(chunk, MemoryState())
    assert guarded("member", lambda _records, _state: outcome, None)(chunk, MemoryState()) is outcome
