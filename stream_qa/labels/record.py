"""The packed record of a life cycle in the label table.

A format byte and two lengths, little-endian; then a JSON array of what decides; then, untouched, the application's
content and features. Most reads need the first part only.
"""

import base64
import struct
from typing import Any

import orjson

from stream_qa.errors import StateFormatError
from stream_qa.events import Record
from stream_qa.labels.life_cycle import KnownApplication, KnownEngagement, LifeCycle, Verdict, WaitingEngagement

FORMAT = 1
_LENGTHS = struct.Struct("<BII")


def pack(life_cycle: LifeCycle) -> bytes:
    """Return the table's record of ``life_cycle``."""
    application, verdict = life_cycle.application, life_cycle.verdict
    head = orjson.dumps(
        [
            life_cycle.forget_at,
            life_cycle.revision,
            None if verdict is None else [*verdict],
            [[*engagement] for engagement in life_cycle.engagements],
            [_pack_waiting(waiting) for waiting in life_cycle.waiting],
            None if application is None else application[:5],
        ]
    )
    content, features = (b"", b"") if application is None else (application.content, application.member_features)
    return _LENGTHS.pack(FORMAT, len(head), len(content)) + head + content + features


def unpack(record: bytes) -> LifeCycle:
    """Return what :func:`pack` packed.

    Raises
    ------
    StateFormatError
        The record was written in another format.
    """
    if record[0] != FORMAT:
        raise StateFormatError(f"a life cycle of format {record[0]}, where format {FORMAT} is read")
    _, head_length, content_length = _LENGTHS.unpack_from(record)
    content_start = _LENGTHS.size + head_length
    features_start = content_start + content_length
    head = orjson.loads(memoryview(record)[_LENGTHS.size : content_start])
    forget_at, revision, verdict, engagements, waiting, application = head
    return LifeCycle(
        forget_at=forget_at,
        revision=revision,
        verdict=None if verdict is None else Verdict(*verdict),
        engagements=[KnownEngagement(*engagement) for engagement in engagements],
        waiting=[_unpack_waiting(*each) for each in waiting],
        application=None
        if application is None
        else KnownApplication._make([*application, record[content_start:features_start], record[features_start:]]),
    )


def _pack_waiting(waiting: WaitingEngagement) -> list[Any]:
    topic, partition, offset, key, value, headers = waiting.record
    texts = [[name, _text(content)] for name, content in headers]
    return [[*waiting.engagement], topic, partition, offset, _text(key), _text(value), texts]


def _unpack_waiting(
    engagement: list[Any],
    topic: str,
    partition: int,
    offset: int,
    *texts: Any,  # noqa: ANN401 # as JSON gives them
) -> WaitingEngagement:
    key, value, headers = texts
    record = Record(
        topic, partition, offset, _bytes(key), _bytes(value), [(name, _bytes(content)) for name, content in headers]
    )
    return WaitingEngagement(KnownEngagement(*engagement), record)


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
