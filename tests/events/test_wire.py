"""The form in which stages read and write: the same fields as the schemas, and the same judgement."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from builders import application, engagement, example, label
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_qa.errors import InvalidEventError, RejectedError
from stream_qa.events import (
    Application,
    Decoder,
    Delta,
    Engagement,
    Event,
    Example,
    Label,
    Score,
    Snapshot,
    WireDecoder,
    wire,
)
from stream_qa.events.fields import MAX_EVENT_TIME, MAX_FEATURES, MAX_ID_BYTES

FORMS: Mapping[type[msgspec.Struct], type[Event]] = {
    wire.Application: Application,
    wire.Engagement: Engagement,
    wire.Label: Label,
    wire.Example: Example,
    wire.Score: Score,
    wire.Delta: Delta,
    wire.Snapshot: Snapshot,
}
INPUTS: list[tuple[type[msgspec.Struct], Event]] = [
    (wire.Application, application(global_log_odds=0.5)),
    (wire.Engagement, engagement(engagement_id="e-1")),
]
OWN: list[tuple[type[msgspec.Struct], Event]] = [
    (wire.Label, label(value=1)),
    (wire.Example, example(value=0, weight=0.5)),
]


def read(form: type[msgspec.Struct], value: bytes) -> msgspec.Struct | RejectedError:
    [result] = WireDecoder(form, Decoder(FORMS[form])).decode([value])
    return result


def judged(form: type[msgspec.Struct], value: bytes) -> Event | RejectedError:
    [result] = Decoder(FORMS[form]).decode([value])
    return result


@pytest.mark.parametrize(("form", "schema"), FORMS.items())
def test_a_form_has_the_fields_of_its_schema(form: type[msgspec.Struct], schema: type[Event]) -> None:
    fields = {field.name: field.required for field in msgspec.structs.fields(form)}
    assert fields == {name: field.is_required() for name, field in schema.model_fields.items()}


@pytest.mark.parametrize(("form", "event"), [*INPUTS, *OWN])
def test_what_was_read_says_what_the_event_says(form: type[msgspec.Struct], event: Event) -> None:
    message = read(form, event.model_dump_json().encode())
    assert isinstance(message, form)
    assert judged(form, wire.encode(message)) == event


def test_a_vector_is_carried_on_as_it_was_written() -> None:
    value = application().model_dump_json().encode().replace(b"[0.5,-1.0]", b"[ 5e-1,\t-1]")
    message = read(wire.Application, value)
    assert isinstance(message, wire.Application)
    assert bytes(message.member_features) == b"[ 5e-1,\t-1]"
    assert wire.vector(message.member_features) == [0.5, -1.0]


@pytest.mark.parametrize(("text", "count"), [(b"[]", 0), (b" [ \n]", 0), (b"[1]", 1), (b"[ 1.5 , -2e3,0 ]", 3)])
def test_the_length_of_a_vector_is_known_without_parsing_it(text: bytes, count: int) -> None:
    assert wire.length(text) == count == len(wire.vector(text))


def test_many_vectors_are_parsed_at_once() -> None:
    assert wire.vectors([b"[]", b"[1]", b"[0.5,-2]"]) == [[], [1.0], [0.5, -2.0]]


@pytest.mark.parametrize(
    "change",
    [
        {"application_id": ""},
        {"application_id": "é" * (MAX_ID_BYTES // 2 + 1)},
        {"application_id": "é" * (MAX_ID_BYTES // 2)},
        {"job_id": 7},
        {"applied_at": -1, "engaged_at": -1},
        {"applied_at": MAX_EVENT_TIME + 1, "engaged_at": MAX_EVENT_TIME + 1},
        {"applied_at": 1.0, "engaged_at": 1.0},
        {"applied_at": True, "engaged_at": True},
        {"member_features": [1, None], "kind": None},
        {"member_features": {}, "kind": {}},
        {"job_features": [0.5] * (MAX_FEATURES + 1), "engagement_id": ""},
        {"global_log_odds": "1"},
        {"global_log_odds": None, "engagement_id": None},
        {"unknown": [{"deep": [1, None]}]},
    ],
)
@pytest.mark.parametrize(("form", "event"), INPUTS)
def test_input_is_judged_as_by_the_schema(
    form: type[msgspec.Struct], event: Event, change: Mapping[str, object]
) -> None:
    value = json.dumps({**event.model_dump(), **change}).encode()
    assert_same_judgement(form, value)


@pytest.mark.parametrize("token", ["NaN", "-Infinity", "1e999", "1" + "0" * 400, "01", "+1", ".5", "1.", "0x1"])
def test_odd_numbers_are_judged_as_by_the_schema(token: str) -> None:
    for field in ("member_features", "job_features"):
        content = json.dumps({**application().model_dump(), field: ["TOKEN"]}).replace('"TOKEN"', token)
        assert_same_judgement(wire.Application, content.encode())
    content = json.dumps({**application().model_dump(), "global_log_odds": "TOKEN"}).replace('"TOKEN"', token)
    assert_same_judgement(wire.Application, content.encode())


def test_what_the_form_refuses_and_the_schema_accepts_is_accepted() -> None:
    """The schema decides: here one that takes longer identifiers than the form does."""

    class Generous(Event):
        application_id: str
        job_id: str = "j"
        kind: str = "k"
        engaged_at: int = 0

    class Narrow(msgspec.Struct):
        application_id: str

        def __post_init__(self) -> None:
            if self.application_id != "corrected":
                raise ValueError("not this one")

    class Correcting(Generous):
        def model_dump_json(self, **_options: Any) -> str:  # noqa: ANN401 # as pydantic's
            return '{"application_id": "corrected"}'

    [accepted] = WireDecoder(Narrow, Decoder(Correcting)).decode([b'{"application_id": "long"}'])
    assert accepted == Narrow("corrected")


def test_a_message_too_large_or_without_a_value_is_left_to_the_schema() -> None:
    decoder = WireDecoder(wire.Engagement, Decoder(Engagement, 10))
    large, none = decoder.decode([engagement().model_dump_json().encode(), None])
    assert [type(large).__name__, type(none)] == ["MessageTooLargeError", InvalidEventError]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.data())
@settings(max_examples=300)
def test_any_input_is_judged_as_by_the_schema(data: st.DataObject) -> None:
    form, event = data.draw(st.sampled_from(INPUTS))
    content = event.model_dump()
    content.update(data.draw(st.dictionaries(st.sampled_from(sorted(content)), ANY_JSON, max_size=3)))
    assert_same_judgement(form, json.dumps(content).encode())


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_judged_as_by_the_schema(value: bytes) -> None:
    for form in FORMS:
        assert_same_judgement(form, value)


def assert_same_judgement(form: type[msgspec.Struct], value: bytes) -> None:
    by_form, by_schema = read(form, value), judged(form, value)
    if isinstance(by_schema, RejectedError):
        assert (type(by_form), str(by_form)) == (type(by_schema), str(by_schema))
    else:
        assert isinstance(by_form, form)
        assert judged(form, wire.encode(by_form)) == by_schema
