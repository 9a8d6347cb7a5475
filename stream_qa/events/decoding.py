"""Bytes to events, a chunk at a time; what is no event comes back as the error that says why."""

import sys
from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec
from pydantic import TypeAdapter, ValidationError

from stream_qa.errors import InvalidEventError, MessageTooLargeError, NotJSONError, RejectedError
from stream_qa.events.fields import Event

E = TypeVar("E", bound=Event)
W = TypeVar("W", bound=msgspec.Struct)


class WireDecoder(Generic[W]):
    """Decodes the messages of one topic into the form that a stage reads.

    Parameters
    ----------
    form
        One of ``wire.py``.
    schema
        Judges what the form refuses: a message is rejected when the schema of record says so, and for its reason.
    """

    def __init__(self, form: type[W], schema: "Decoder[E]") -> None:
        self._read = msgspec.json.Decoder(form).decode
        self._judge = schema.decode
        self._max_message_bytes = schema.max_message_bytes

    def decode(self, values: Iterable[bytes | None]) -> list[W | RejectedError]:
        """Return, for each value in its order, the message or the reason why it is none. Never raises for input."""
        return [self._decode(value) for value in values]

    def _decode(self, value: bytes | None) -> W | RejectedError:
        if value is not None and len(value) <= self._max_message_bytes:
            try:
                return self._read(value)
            except (msgspec.MsgspecError, RecursionError):
                pass
        [verdict] = self._judge([value])
        return verdict if isinstance(verdict, RejectedError) else self._read(verdict.model_dump_json().encode())


class Decoder(Generic[E]):
    """Decodes the messages of one topic by their schema of record.

    Parameters
    ----------
    model
        The schema of record.
    max_message_bytes
        A larger value is not even parsed. For what comes from outside; what the stages tell each other is larger than
        what they read, and needs no limit.
    """

    def __init__(self, model: type[E], max_message_bytes: int = sys.maxsize) -> None:
        # The compiled validator itself: the adapter around it costs as much again.
        self._validate_json = TypeAdapter(model).validator.validate_json
        self.max_message_bytes = max_message_bytes

    def decode(self, values: Iterable[bytes | None]) -> list[E | RejectedError]:
        """Return, for each value in its order, the event or the reason why it is none. Never raises for input."""
        return [self._decode(value) for value in values]

    def _decode(self, value: bytes | None) -> E | RejectedError:
        if value is None:
            return InvalidEventError("the message has no value")
        if len(value) > self.max_message_bytes:
            return MessageTooLargeError(f"{len(value)} bytes where at most {self.max_message_bytes} are allowed")
        try:
            event: E = self._validate_json(value)
        except ValidationError as error:
            return _reason(error)
        return event


def _reason(error: ValidationError) -> RejectedError:
    """Say what is wrong without repeating the input: reasons are read by more people than events are."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    first = details[0]
    if first["type"] == "json_invalid":
        return NotJSONError(first["msg"])
    place = ".".join(str(part) for part in first["loc"]) or "the message"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return InvalidEventError(f"{place}: {first['msg']}{more}")
