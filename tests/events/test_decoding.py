"""What is an event and what is not: the rules of the schemas of record, through the decoder."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from builders import application, engagement, example, label
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_qa.errors import InvalidEventError, MessageTooLargeError, NotJSONError, RejectedError
from stream_qa.events import Application, Decoder, Delta, Engagement, Event, Example, Label, Score, Snapshot
from stream_qa.events.fields import MAX_EVENT_TIME, MAX_FEATURES, MAX_ID_BYTES

APPLICATION: Mapping[str, Any] = application(global_log_odds=0.25).model_dump()
ENGAGEMENT: Mapping[str, Any] = engagement(engagement_id="engagement-1").model_dump()
MODELS: list[type[Event]] = [Application, Engagement, Label, Example, Score, Delta, Snapshot]
PRIVATE = "somebody-4711"


def decode(value: bytes | None, model: type[Event] = Application) -> Event | RejectedError:
    [result] = Decoder(model).decode([value])
    return result


def reason(error_class: type[RejectedError], value: bytes | None, model: type[Event] = Application) -> str:
    """Return the reason for which a value is rejected, having checked its class."""
    result = decode(value, model)
    assert type(result) is error_class, result
    return str(result)


def with_field(name: str, value: object) -> bytes:
    return json.dumps({**APPLICATION, name: value}).encode()


def with_token(name: str, token: str) -> bytes:
    """Return an application whose field is a token that Python's own encoder would not write."""
    return json.dumps({**APPLICATION, name: "TOKEN"}).replace('"TOKEN"', token).encode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"{",
        b'{"application_id": ' + PRIVATE.encode() + b"}",
        b"{'application_id': 'a'}",
        json.dumps(dict(APPLICATION)).encode() + b"}",
        json.dumps(dict(APPLICATION)).encode("utf-16"),
        json.dumps(dict(APPLICATION)).encode().replace(b"member-1", b"member-\xff"),
        json.dumps(dict(APPLICATION)).encode().replace(b"member-1", b"member-\\ud800"),
        b"\x00\x01\x02",
    ],
)
def test_bytes_that_are_no_json_are_rejected_as_such(value: bytes) -> None:
    assert PRIVATE not in reason(NotJSONError, value)


@pytest.mark.parametrize("value", [b"null", b"true", b"1", b'"application"', b"[]", b"[{}]"])
def test_json_that_is_no_object_is_no_event(value: bytes) -> None:
    assert reason(InvalidEventError, value) == "the message: Input should be an object"


def test_a_message_without_a_value_is_no_event() -> None:
    assert reason(InvalidEventError, None) == "the message has no value"


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_deeper_than_any_event_is_rejected_even_in_an_unknown_field(
    depth: int, opening: str, closing: str
) -> None:
    reason(NotJSONError, (opening * depth).encode())
    reason(NotJSONError, with_token("unknown", opening * depth + "1" + closing * depth))


@pytest.mark.parametrize("field", [name for name in APPLICATION if name != "global_log_odds"])
def test_an_application_without_one_of_its_fields_is_rejected_by_name(field: str) -> None:
    rest = {name: value for name, value in APPLICATION.items() if name != field}
    assert reason(InvalidEventError, json.dumps(rest).encode()) == f"{field}: Field required"


@pytest.mark.parametrize("field", [name for name in ENGAGEMENT if name != "engagement_id"])
def test_an_engagement_without_one_of_its_fields_is_rejected_by_name(field: str) -> None:
    rest = {name: value for name, value in ENGAGEMENT.items() if name != field}
    assert reason(InvalidEventError, json.dumps(rest).encode(), Engagement) == f"{field}: Field required"


def test_the_optional_fields_may_be_missing_or_null() -> None:
    for missing in ({}, {"global_log_odds": None}):
        rest = {name: value for name, value in APPLICATION.items() if name != "global_log_odds"}
        assert decode(json.dumps({**rest, **missing}).encode()) == application()
    for missing in ({}, {"engagement_id": None}):
        rest = {name: value for name, value in ENGAGEMENT.items() if name != "engagement_id"}
        assert decode(json.dumps({**rest, **missing}).encode(), Engagement) == engagement()


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400])
def test_numbers_that_are_not_finite_are_rejected(token: str) -> None:
    assert reason(InvalidEventError, with_token("global_log_odds", token)).startswith("global_log_odds: ")
    assert reason(InvalidEventError, with_token("member_features", f"[0.5, {token}]")).startswith("member_features.1: ")
    assert isinstance(decode(with_token("applied_at", token)), RejectedError)


def test_an_integer_of_thousands_of_digits_is_rejected() -> None:
    for field, token in (("applied_at", "9" * 5_000), ("job_features", "[" + "9" * 5_000 + "]")):
        assert isinstance(decode(with_token(field, token)), RejectedError)


@pytest.mark.parametrize("value", ["1767571200000", 1767571200000.0, 1.5, True, None, [1], "", PRIVATE])
def test_a_time_is_an_integer(value: object) -> None:
    text = reason(InvalidEventError, with_field("applied_at", value))
    assert text.startswith("applied_at: ")
    assert PRIVATE not in text


@pytest.mark.parametrize("value", [-1, MAX_EVENT_TIME + 1, 10**19, 10**400])
def test_a_time_outside_of_1970_to_9999_is_a_unit_gone_wrong(value: int) -> None:
    assert reason(InvalidEventError, with_field("applied_at", value)).startswith("applied_at: ")


@pytest.mark.parametrize("value", [0, MAX_EVENT_TIME])
def test_the_first_and_the_last_moment_are_times(value: int) -> None:
    assert decode(with_field("applied_at", value)) == application(applied_at=value, global_log_odds=0.25)


@pytest.mark.parametrize("value", ["0.5", True, [0.5], {}])
def test_a_number_is_no_string_and_no_boolean(value: object) -> None:
    assert reason(InvalidEventError, with_field("global_log_odds", value)).startswith("global_log_odds: ")


@pytest.mark.parametrize("value", [0.5, "12", {"0": 1.0}, None, True])
def test_features_are_a_list(value: object) -> None:
    assert reason(InvalidEventError, with_field("member_features", value)).startswith("member_features: ")


@pytest.mark.parametrize("value", ["0.5", True, None, [0.5], PRIVATE])
def test_a_feature_is_a_number(value: object) -> None:
    text = reason(InvalidEventError, with_field("job_features", [1.0, value]))
    assert text.startswith("job_features.1: ")
    assert PRIVATE not in text


def test_features_are_at_most_so_many() -> None:
    most = application(member_features=[0.5] * MAX_FEATURES)
    assert decode(most.model_dump_json().encode()) == most
    assert reason(InvalidEventError, with_field("member_features", [0.5] * (MAX_FEATURES + 1))).startswith(
        "member_features: "
    )


def test_a_side_may_have_no_features_and_integers_are_numbers() -> None:
    assert decode(with_field("job_features", [])) == application(job_features=[], global_log_odds=0.25)
    assert decode(with_field("job_features", [3])) == application(job_features=[3.0], global_log_odds=0.25)


@pytest.mark.parametrize("field", ["application_id", "member_id", "job_id", "feature_schema"])
@pytest.mark.parametrize("value", ["", "a" * (MAX_ID_BYTES + 1), "é" * (MAX_ID_BYTES // 2 + 1), 7, True, None, ["a"]])
def test_an_id_is_a_string_of_1_to_256_bytes(field: str, value: object) -> None:
    assert reason(InvalidEventError, with_field(field, value)).startswith(f"{field}: ")


@pytest.mark.parametrize(
    "value", ["a" * MAX_ID_BYTES, "é" * (MAX_ID_BYTES // 2), "🦜" * (MAX_ID_BYTES // 4), "\0", " "]
)
def test_an_id_may_be_any_text_of_that_length(value: str) -> None:
    assert decode(with_field("application_id", value)) == application(value, global_log_odds=0.25)


def test_unknown_fields_are_ignored_because_producers_evolve() -> None:
    assert decode(with_field("unknown", {"deep": [1, None, "x"]})) == application(global_log_odds=0.25)


def test_a_reason_says_how_much_else_is_wrong() -> None:
    broken = {**APPLICATION, "applied_at": "now", "job_id": ""}
    assert reason(InvalidEventError, json.dumps(broken).encode()).endswith("(and 1 more)")


def test_a_message_over_the_limit_is_not_even_parsed() -> None:
    value = application().model_dump_json().encode()
    at_the_limit, over_it = Decoder(Application, len(value)).decode([value, value + b" "])
    assert at_the_limit == application()
    assert type(over_it) is MessageTooLargeError
    assert str(over_it) == f"{len(value) + 1} bytes where at most {len(value)} are allowed"
    [no_json] = Decoder(Application, 4).decode([b"{{{{{"])
    assert type(no_json) is MessageTooLargeError


def test_results_come_in_the_order_of_the_values() -> None:
    values = [application("a").model_dump_json().encode(), b"{", application("b").model_dump_json().encode(), None]
    first, second, third, fourth = Decoder(Application).decode(values)
    assert (first, third) == (application("a"), application("b"))
    assert (type(second), type(fourth)) == (NotJSONError, InvalidEventError)


@pytest.mark.parametrize("weight", [-0.1, 1.1, True, "1"])
def test_a_label_has_a_weight_from_0_to_1(weight: object) -> None:
    value = json.dumps({**label().model_dump(), "weight": weight}).encode()
    assert reason(InvalidEventError, value, Label).startswith("weight: ")


@pytest.mark.parametrize("value", [2, -1, "1", 0.5])
def test_a_label_is_yes_or_no_or_not_known(value: object) -> None:
    content = json.dumps({**label().model_dump(), "value": value}).encode()
    assert reason(InvalidEventError, content, Label).startswith("value: ")


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        (None, "opened", "open"),
        (1, "explicit:message", "positive"),
        (0, "explicit:rejection", "negative"),
        (0, "window-closed", "negative"),
        (0, "silence:responded-later", "provisional"),
    ],
)
def test_a_label_in_one_word(value: int | None, text: str, kind: str) -> None:
    assert label(value=value, reason=text).kind == kind


@pytest.mark.parametrize("model", MODELS)
def test_every_schema_can_be_written_as_json_schema(model: type[Event]) -> None:
    schema = model.model_json_schema()
    assert schema["type"] == "object"
    assert set(schema["properties"]) == set(model.model_fields)


# Arbitrary input.

IDENTIFIERS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=MAX_ID_BYTES // 4)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.integers(0, MAX_EVENT_TIME)
FEATURES = st.lists(NUMBERS, max_size=4)
APPLICATIONS = st.builds(
    Application,
    application_id=IDENTIFIERS,
    member_id=IDENTIFIERS,
    job_id=IDENTIFIERS,
    applied_at=TIMES,
    feature_schema=IDENTIFIERS,
    member_features=FEATURES,
    job_features=FEATURES,
    global_log_odds=st.none() | NUMBERS,
)
ENGAGEMENTS = st.builds(
    Engagement,
    application_id=IDENTIFIERS,
    job_id=IDENTIFIERS,
    kind=IDENTIFIERS,
    engaged_at=TIMES,
    engagement_id=st.none() | IDENTIFIERS,
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def is_identifier(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value.encode()) <= MAX_ID_BYTES


def is_number(value: object) -> bool:
    return type(value) is float and math.isfinite(value)


def is_time(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_EVENT_TIME


def are_features(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_FEATURES and all(map(is_number, value))


def is_valid(event: Event) -> bool:
    """Whether an event keeps every rule: the rules once more, by hand."""
    if isinstance(event, Application):
        return (
            all(map(is_identifier, (event.application_id, event.member_id, event.job_id, event.feature_schema)))
            and is_time(event.applied_at)
            and are_features(event.member_features)
            and are_features(event.job_features)
            and (event.global_log_odds is None or is_number(event.global_log_odds))
        )
    assert isinstance(event, Engagement)
    return (
        all(map(is_identifier, (event.application_id, event.job_id, event.kind)))
        and is_time(event.engaged_at)
        and (event.engagement_id is None or is_identifier(event.engagement_id))
    )


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_arbitrary_bytes_never_raise(value: bytes) -> None:
    for model in MODELS:
        assert isinstance(decode(value, model), RejectedError)


@given(st.data())
@settings(max_examples=200)
def test_arbitrary_json_never_raises_and_never_gives_an_event_that_is_not_valid(data: st.DataObject) -> None:
    model: type[Event] = Application if data.draw(st.booleans()) else Engagement
    valid = APPLICATION if model is Application else ENGAGEMENT
    content = dict(valid)
    content.update(data.draw(st.dictionaries(st.sampled_from(sorted(valid)), ANY_JSON, max_size=3)))
    result = decode(json.dumps(content).encode(), model)
    assert isinstance(result, RejectedError) or is_valid(result)
    result = decode(json.dumps(data.draw(ANY_JSON)).encode(), model)
    assert isinstance(result, RejectedError)


@given(APPLICATIONS | ENGAGEMENTS)
@settings(max_examples=200)
def test_a_valid_event_comes_back_from_its_json(event: Event) -> None:
    assert is_valid(event)
    assert decode(event.model_dump_json().encode(), type(event)) == event


@pytest.mark.parametrize(
    "event", [application(), engagement(), label(value=1, final=True), example(value=0, weight=0.5)], ids=type
)
def test_every_built_event_comes_back_from_its_json(event: Event) -> None:
    assert decode(event.model_dump_json().encode(), type(event)) == event
