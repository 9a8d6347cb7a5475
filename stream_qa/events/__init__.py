"""The messages of every topic: the schemas of record, and bytes to events or reasons."""

from stream_qa.events import wire
from stream_qa.events.application import Application
from stream_qa.events.coefficients import Delta, EntityKind, Snapshot
from stream_qa.events.dead_letter import dead_letter
from stream_qa.events.decoding import Decoder, WireDecoder
from stream_qa.events.engagement import Engagement
from stream_qa.events.example import Example
from stream_qa.events.fields import Event
from stream_qa.events.generation import Generation
from stream_qa.events.label import Label, LabelKind, Value
from stream_qa.events.model import PublishedModel
from stream_qa.events.notification import Notification
from stream_qa.events.record import Headers, Message, Record, SourceRecord
from stream_qa.events.score import Score
from stream_qa.events.tick import Tick
from stream_qa.events.topics import TopicNames

__all__ = [
    "Application",
    "Decoder",
    "Delta",
    "Engagement",
    "EntityKind",
    "Event",
    "Example",
    "Generation",
    "Headers",
    "Label",
    "LabelKind",
    "Message",
    "Notification",
    "PublishedModel",
    "Record",
    "Score",
    "Snapshot",
    "SourceRecord",
    "Tick",
    "TopicNames",
    "Value",
    "WireDecoder",
    "dead_letter",
    "wire",
]
