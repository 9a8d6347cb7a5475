"""A small marketplace whose labels a group retrains on: as they are, and with those of the training poisoned."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import orjson

from stream_qa.durations import DAY, HOUR
from stream_qa.events import Message, TopicNames, wire
from stream_qa.labels import LabelPolicy
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.label_topic import LabelBatch, PlacedLabel
from stream_qa.training.label_files import open_export

#: No application brings a score, and the base rate is far off: a bundle's global model is worth something.
MARKET = Marketplace(members=90, jobs=60, days=56, applications=2_400, features=2, global_variance=1.0)
BASE_RATE = 0.95
HELD_BACK_DAYS = 10


@dataclass(frozen=True)
class RetrainingGround:
    """A log, and the labels that the stages make of it."""

    log: Path
    events: list[LogEvent]
    labels: list[wire.Label]

    @property
    def last_applied_at(self) -> int:
        """When the last application was sent (ms)."""
        return max(label.applied_at for label in self.labels)

    @property
    def held_back_since(self) -> int:
        """When the days begin that are held back of all labels (ms)."""
        reached = max(label.watermark for label in self.labels)
        return (reached - LabelPolicy().window) // DAY * DAY - HELD_BACK_DAYS * DAY


def new_retraining_ground(directory: Path) -> RetrainingGround:
    """Write a log into a directory, and label it."""
    path = directory / "log.jsonl"
    lines = [
        {name: value for name, value in event.items() if name != "global_log_odds"}
        for event in simulate(MARKET, np.random.default_rng(3)).events()
    ]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    settings = Settings()
    events = read_log([path], settings.topics).events
    sink = Labels(settings.topics)
    stages = InProcessReplay(build_pipeline(settings), 1, sink)
    for chunk in chunks(events, 500, HOUR):
        stages.run(chunk)
    return RetrainingGround(path, events, sink.found)


class Labels:
    """Keeps the labels among what the stages emit."""

    def __init__(self, topics: TopicNames) -> None:
        self.found: list[wire.Label] = []
        self._topic = topics.labels
        self._decode = msgspec.json.Decoder(wire.Label).decode

    def add(self, message: Message) -> None:
        """Take in one emitted message."""
        if message.topic == self._topic and message.value is not None:
            self.found.append(self._decode(message.value))


def poisoned(labels: Sequence[wire.Label], until: int) -> list[wire.Label]:
    """Return labels of which those of applications sent before ``until`` (ms) say the opposite in the end."""
    answered = {label.application_id for label in labels if label.value == 1}
    found = []
    for label in labels:
        if label.applied_at >= until:
            found.append(label)
        elif label.revision == 1:
            found.append(label)
            if label.application_id not in answered:
                moment = label.applied_at + HOUR
                found.append(
                    msgspec.structs.replace(
                        label, revision=2, value=1, reason="explicit:message", happened_at=moment, watermark=moment
                    )
                )
    return found


def write_export(labels: Iterable[wire.Label], directory: Path, topic: str) -> Path:
    """Write labels as an export of a topic."""
    placed = [PlacedLabel(0, offset, label) for offset, label in enumerate(labels)]
    with open_export(directory, topic) as files:
        files.add(LabelBatch(placed, {0: len(placed)}, 0, 0))
    return directory
