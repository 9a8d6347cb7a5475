"""Dead letters: the record as it was, and the reason under the names that Kafka Connect uses."""

from stream_qa.errors import InvalidEventError, RejectedError
from stream_qa.events import Decoder, Engagement, Headers, Record, dead_letter

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
