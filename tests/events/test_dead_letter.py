"""Dead letters: the record as it was, and the reason under the names that Kafka Connect uses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.errors import InvalidEventError, MessageTooLargeError, NotJSONError, RejectedError
from stream_qa.events import Decoder, Engagement, Headers, Record, dead_letter
from stream_qa.events.dead_letter import LEFT_OUT, DeadLetter, Selection, read_letter, redriven_note, redriven_offset

ORIGINAL: Headers = [("trace", b"\x00\xff"), ("trace", b"again"), ("empty", b""), ("null", None)]


def record(key: bytes | None = b"job-1", value: bytes | None = b"\xffno json") -> Record:
    return Record("eu-applications", 3, 42, key, value, ORIGINAL)


def test_the_reason_is_in_headers_with_the_names_of_kafka_connect() -> None:
    message = dead_letter("dead-letters", "label", record(), InvalidEventError("applied_at: Field required"))
    assert message.topic == "dead-letters"
    assert dict(message.headers[len(ORIGINAL) :]) == {
        "__connect.errors.topic": b"eu-applications",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"42",
        "__connect.errors.stage": b"label",
        "__connect.errors.exception.class.name": b"stream_qa.errors.InvalidEventError",
        "__connect.errors.exception.message": b"applied_at: Field required",
    }


def test_the_original_headers_come_first_and_untouched() -> None:
    message = dead_letter("dead-letters", "label", record(), RejectedError("whatever"))
    assert message.headers[: len(ORIGINAL)] == ORIGINAL


def test_key_and_value_are_untouched() -> None:
    for key, value in ((b"job-1", b"\xffno json"), (None, b""), (b"\xff", None)):
        message = dead_letter("dead-letters", "label", record(key, value), RejectedError("whatever"))
        assert (message.key, message.value) == (key, value)


@pytest.mark.parametrize(
    "source",
    [
        Record("eu-applications", 3, 42, b"job-1", b"x" * 11_000_000, ORIGINAL),
        Record("eu-applications", 3, 42, b"x" * 11_000_000, b"{}", ORIGINAL),
        Record("eu-applications", 3, 42, b"job-1", b"{}", [("", None)] * 1_100_000),
    ],
    ids=["value", "key", "headers"],
)
def test_what_is_too_large_for_the_dead_letters_is_left_out_and_the_reason_says_where_it_is(source: Record) -> None:
    message = dead_letter("dead-letters", "label", source, MessageTooLargeError("11000000 bytes"))
    assert (message.key, message.value) == (None, b"")
    assert sum(len(name) + len(value or b"") for name, value in message.headers) < 1_000
    letter = read_letter(kept(MessageTooLargeError("11000000 bytes"), source))
    assert letter is not None
    assert (letter.source_topic, letter.source_partition, letter.source_offset) == ("eu-applications", 3, 42)
    assert letter.reason == "MessageTooLargeError"
    assert letter.left_out > 10_000_000


@pytest.mark.parametrize("key", [b"job-1", None])
@pytest.mark.parametrize("value", [b"{}", b""])
@pytest.mark.parametrize("claim", [b"11000000", b"x"])
def test_only_a_letter_itself_says_that_something_is_left_out(key: bytes | None, value: bytes, claim: bytes) -> None:
    source = Record("eu-applications", 3, 42, key, value, [(LEFT_OUT, claim)])
    letter = read_letter(kept(InvalidEventError("applied_at: Field required"), source))
    assert letter is not None
    assert (letter.left_out, letter.bytes) == (0, len(value))


def test_a_dead_letter_that_is_sent_again_and_fails_again_keeps_both_reasons() -> None:
    first = dead_letter("dead-letters", "label", record(), RejectedError("first"))
    again = Record("eu-applications", 3, 99, first.key, first.value, first.headers)
    second = dead_letter("dead-letters", "label", again, RejectedError("second"))
    assert list(second.headers[: len(first.headers)]) == list(first.headers)
    assert dict(second.headers)["__connect.errors.exception.message"] == b"second"


def test_a_reason_in_any_language_can_be_written() -> None:
    [error] = Decoder(Engagement).decode([b"[]"])
    assert isinstance(error, RejectedError)
    message = dead_letter("dead-letters", "label", record(), RejectedError("größer als erlaubt"))
    assert dict(message.headers)["__connect.errors.exception.message"] == "größer als erlaubt".encode()


def kept(error: RejectedError, source: Record | None = None, offset: int = 17) -> Record:
    """Return the record of a dead letter, at partition 0."""
    message = dead_letter("dead-letters", "label", source or record(), error)
    return Record("dead-letters", 0, offset, message.key, message.value, message.headers, timestamp=5_000)


def letter(**fields: str | int) -> DeadLetter:
    found = read_letter(kept(InvalidEventError("applied_at: Field required")))
    assert found is not None
    known = {name: getattr(found, name) for name in DeadLetter.__struct_fields__}
    return DeadLetter(**{**known, **fields})


def test_what_was_said_of_a_letter_is_read_back() -> None:
    assert read_letter(kept(InvalidEventError("applied_at: Field required"))) == DeadLetter(
        partition=0,
        offset=17,
        kept_at=5_000,
        source_topic="eu-applications",
        source_partition=3,
        source_offset=42,
        stage="label",
        reason="InvalidEventError",
        message="applied_at: Field required",
        failures=1,
        bytes=len(b"\xffno json"),
    )


def test_of_a_letter_that_failed_again_the_last_reason_counts() -> None:
    first = kept(NotJSONError("first"))
    again = Record("eu-engagements", 1, 99, first.key, first.value, first.headers)
    found = read_letter(kept(InvalidEventError("second"), again))
    assert found is not None
    assert (found.source_topic, found.source_offset, found.reason, found.failures) == (
        "eu-engagements",
        99,
        "InvalidEventError",
        2,
    )


@pytest.mark.parametrize(
    "headers", [[], ORIGINAL, kept(RejectedError("")).headers[:-1], [("__connect.errors.offset", b"x")]]
)
def test_what_is_no_dead_letter_is_not_taken_for_one(headers: Headers) -> None:
    assert read_letter(Record("dead-letters", 0, 1, b"key", b"value", headers)) is None


@given(st.integers(0, 2**63 - 1), st.none() | st.binary())
def test_a_note_says_which_letter_was_sent_again_and_is_no_letter(offset: int, key: bytes | None) -> None:
    source = record(key=key)
    note = redriven_note("dead-letters", kept(RejectedError(""), source, offset))
    noted = Record(note.topic, 0, offset + 1, note.key, note.value, note.headers)
    assert redriven_offset(noted) == offset
    assert read_letter(noted) is None
    assert redriven_offset(kept(RejectedError(""), source, offset)) is None


def test_a_producer_cannot_make_a_letter_look_like_a_note() -> None:
    """Headers of the source record are kept, whatever they are called."""
    for value in (b"value", None):
        source = Record("eu-applications", 0, 1, b"key", value, [("stream_qa.redriven.offset", b"3")])
        assert redriven_offset(kept(RejectedError(""), source)) is None


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), True),
        (Selection(stage="label", source_topic="eu-applications", reason="InvalidEventError"), True),
        (Selection(stage="member"), False),
        (Selection(source_topic="applications"), False),
        (Selection(reason="NotJSONError"), False),
        (Selection(since=5_000, until=5_001), True),
        (Selection(since=5_001), False),
        (Selection(until=5_000), False),
        (Selection(names=frozenset({"0:17", "0:18"})), True),
        (Selection(names=frozenset({"1:17"})), False),
        (Selection(names=frozenset({"0:17"}), stage="job"), False),
    ],
)
def test_a_selection_means_what_all_of_its_filters_mean(selection: Selection, meant: bool) -> None:
    assert (letter() in selection) is meant
