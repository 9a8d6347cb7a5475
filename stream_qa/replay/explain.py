"""Why an application has the label it has: its events and its label's revisions, in order."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from stream_qa.durations import HOUR
from stream_qa.errors import RejectedError, UnknownApplicationError
from stream_qa.events import Decoder, Label, Message, TopicNames, wire
from stream_qa.events.dead_letter import EXCEPTION_CLASS, EXCEPTION_MESSAGE, TOPIC
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks
from stream_qa.replay.report import text
from stream_qa.stages.pipeline import Pipeline
from stream_qa.streaming.partitioner import partition_of

_CHUNK_EVENTS = 1_000
_CHUNK_MILLISECONDS = HOUR


def explain(
    pipeline: Pipeline, events: Sequence[LogEvent], application_id: str, partitions: int
) -> list[dict[str, Any]]:
    """Return the life of an application, a step a dictionary with what, when (ms) and why.

    Parameters
    ----------
    pipeline
        The stages; the label policy is theirs.
    events
        A whole log, in event-time order.
    application_id
        The application.
    partitions
        How many partitions the topics would have: event time is that of the application's partition.

    Raises
    ------
    UnknownApplicationError
        The log does not have it.
    """
    topics = pipeline.label.topics
    own = [event for event in events if _application_id(event.value) == application_id]
    application = next((event for event in own if event.topic == topics.applications), None)
    if application is None:
        raise UnknownApplicationError(f"the log has no application {application_id}")
    partition = partition_of(application.key, partitions)
    life = _Life(topics, application_id)
    stages = InProcessReplay(pipeline, partitions, life)
    theirs = (event for event in events if partition_of(event.key, partitions) == partition)
    for chunk in chunks(theirs, _CHUNK_EVENTS, _CHUNK_MILLISECONDS):
        stages.run(chunk)
    read = [_event(event, topics) for event in own]
    # A stable sort: at one moment what was read comes before what was said.
    return sorted([*read, *life.steps], key=lambda step: step["at"])


class _Life:
    """Takes from what the stages emit the revisions and dead letters of one application."""

    def __init__(self, topics: TopicNames, application_id: str) -> None:
        self._topics = topics
        self._application_id = application_id
        self._labels = Decoder(Label)
        self.steps: list[dict[str, Any]] = []

    def add(self, message: Message) -> None:
        """Take in one emitted message."""
        if message.topic not in (self._topics.labels, self._topics.dead_letters):
            return
        if message.value is None or _application_id(message.value) != self._application_id:
            return
        if message.topic == self._topics.dead_letters:
            headers = dict(message.headers)
            reason = (headers[EXCEPTION_CLASS] or b"").decode().rpartition(".")[2]
            is_application = headers[TOPIC] == self._topics.applications.encode()
            moment = wire.event_time(message.value, "applied_at" if is_application else "engaged_at")
            self.steps.append(
                {"what": "dead letter", "at": moment, "reason": reason, "why": text(headers[EXCEPTION_MESSAGE])}
            )
            return
        [label] = self._labels.decode([message.value])
        if not isinstance(label, RejectedError):
            self.steps.append(
                {
                    "what": f"revision {label.revision}",
                    # It is said when event time has come so far; the first before there is any.
                    "at": max(label.watermark, label.happened_at),
                    "label": label.kind,
                    "weight": label.weight,
                    "final": label.final,
                    "reason": label.reason,
                    "happened_at": label.happened_at,
                }
            )


class _Ids(msgspec.Struct):
    """What both inputs and labels have."""

    application_id: str


_ids = msgspec.json.Decoder(_Ids).decode


def _application_id(value: bytes) -> str | None:
    try:
        return _ids(value).application_id
    except (msgspec.MsgspecError, RecursionError):
        return None


def _event(event: LogEvent, topics: TopicNames) -> dict[str, Any]:
    fields = orjson.loads(event.value)
    if event.topic == topics.applications:
        return {
            "what": "application",
            "at": event.time,
            "member_id": fields.get("member_id"),
            "job_id": fields.get("job_id"),
        }
    return {"what": "engagement", "at": event.time, "kind": fields.get("kind"), "job_id": fields.get("job_id")}
