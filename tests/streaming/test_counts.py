"""What a worker counts: sums of what was committed, however it was cut into chunks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.errors import FencedError, InvalidEventError, NotJSONError, OutcomeUnknownError
from stream_qa.events import Message, Record, dead_letter
from stream_qa.stages.state import Outcome
from stream_qa.streaming.batches import Batches
from stream_qa.streaming.lane import Work
from stream_qa.streaming.metrics import Counts, Distribution

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 1_767_571_200_000


def work(outcome: Outcome, records: int) -> Work:
    return Work(outcome.changes, outcome.messages, {}, records, outcome=outcome)


def rejected(error: NotJSONError | InvalidEventError, number: int) -> Message:
    return dead_letter("dead-letters", "label", Record("applications", 0, number, None, b"x"), error)


def test_a_bucket_counts_the_values_up_to_its_bound() -> None:
    found = Distribution([1, 10])
    found.add([0.5, 1.0, 1.5, 10.0, 11.0])
    found.add([])
    assert found.buckets() == [("1", 2.0), ("10", 4.0), ("+Inf", 5.0)]
    assert found.sum == 24.0


@given(st.lists(st.lists(st.integers(-5, 200))))
def test_a_distribution_is_the_same_however_its_values_are_cut_into_chunks(chunks: list[list[int]]) -> None:
    cut, whole = Distribution([0, 10, 100]), Distribution([0, 10, 100])
    for chunk in chunks:
        cut.add(chunk)
    values = [value for chunk in chunks for value in chunk]
    whole.add(values)
    assert (cut.buckets(), cut.sum) == (whole.buckets(), whole.sum)
    assert dict(whole.buckets()) == {
        "0": sum(value <= 0 for value in values),
        "10": sum(value <= 10 for value in values),
        "100": sum(value <= 100 for value in values),
        "+Inf": len(values),
    }


def test_a_transaction_is_counted_with_what_its_stages_made_of_it() -> None:
    counts = Counts("dead-letters")
    label = Outcome(
        {},
        [Message("labels", b"m", b"{}"), rejected(NotJSONError("x"), 1), rejected(NotJSONError("x"), 2)],
        counted={"kind that no policy names: odd": 2, "engagement after the window": 1},
        reasons={"opened": 2, "explicit:message": 1},
        ages=[2 * HOUR],
    )
    counts.committed(
        [("label", work(label, 5)), ("label", work(label, 5))], {"labels": 2, "dead-letters": 4}, 0.02, NOW
    )
    counts.committed([("member", Work({}, [], {}, 3)), ("label", Work({}, [], {}))], {}, 0.3, NOW)
    assert counts.events == {"label": 10, "member": 3}
    assert counts.without_effect["label"] == 6
    assert counts.messages == {"labels": 2, "dead-letters": 4}
    assert counts.labels == {"opened": 4, "explicit:message": 2}
    assert counts.dead == {("label", "NotJSONError"): 4}
    assert dict(counts.label_ages.buckets())["3600.0"] == 0
    assert dict(counts.label_ages.buckets())["21600.0"] == 2
    assert counts.transaction_seconds.sum == pytest.approx(0.32)


def test_a_dead_letter_that_failed_before_is_counted_by_its_last_error() -> None:
    counts = Counts("dead-letters")
    first = rejected(NotJSONError("x"), 1)
    again = Record("applications", 0, 7, first.key, first.value, first.headers)
    message = dead_letter("dead-letters", "label", again, InvalidEventError("y"))
    counts.committed([("label", work(Outcome({}, [message]), 1))], {"dead-letters": 1}, 0.01, NOW)
    assert counts.dead == {("label", "InvalidEventError"): 1}


def test_how_long_records_took_is_counted_by_stage_for_the_first_of_each_partition() -> None:
    counts = Counts("dead-letters")
    came = {"label": [NOW - 40, NOW - 200], "member": [NOW - 3 * HOUR], "job": [NOW + 5]}
    work = [(stage, Work({}, [], {}, 10, since)) for stage, moments in came.items() for since in moments]
    counts.committed([*work, ("notify", Work({}, [], {}))], {}, 0.01, NOW)
    assert {stage: round(delay.sum, 6) for stage, delay in counts.delays.items()} == {
        "label": 0.24,
        "member": 10_800,
        "job": 0,
    }
    assert dict(counts.delays["label"].buckets())["0.05"] == 1


def test_how_long_deltas_took_is_counted_from_their_newest_event_but_not_of_a_replayed_log() -> None:
    counts = Counts("dead-letters")
    happened = [np.array([NOW - 40, NOW - 400, NOW + 5]), np.array([NOW - 7 * DAY, NOW - 7 * DAY - 1])]
    of_member = work(Outcome({}, [], delta_times=happened), 5)
    counts.committed([("member", of_member), ("member", of_member), ("label", Work({}, [], {}))], {}, 0.01, NOW)
    assert counts.event_to_delta.keys() == {"member"}
    assert counts.event_to_delta["member"].sum == pytest.approx(2 * (0.04 + 0.4 + 7 * 86_400))
    buckets = dict(counts.event_to_delta["member"].buckets())
    assert [buckets[bound] for bound in ("0.05", "0.5", "86400.0", "+Inf")] == [4, 6, 6, 8]


def test_interruptions_are_counted_by_error_and_those_by_another_worker_alone() -> None:
    counts = Counts("dead-letters")
    for error in (FencedError("x"), OutcomeUnknownError("x"), FencedError("x")):
        counts.interrupted(error)
    assert counts.interruptions == {"FencedError": 2, "OutcomeUnknownError": 1}
    assert counts.fenced == 2


def test_the_batches_of_a_transaction_know_how_many_records_there_are_for_each_topic() -> None:
    batches = Batches()
    batches.add(("labels", 0), b"key", b"value")
    batches.add(("labels", 1), b"key", bytes(950_000))
    batches.add(("labels", 1), b"key", bytes(950_000))
    batches.add_all(("changelog", 0), {b"a": b"1", b"b": None})
    assert batches.counts() == Counter(labels=3, changelog=2)
