"""What a replay says of itself: counts, and what the stages emitted, one file a topic."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

import orjson
from pydantic import TypeAdapter

from stream_qa.events import Label, Message, TopicNames
from stream_qa.events.dead_letter import EXCEPTION_CLASS, PREFIX
from stream_qa.replay.log import LogEvent


@dataclass
class Report:
    """Counts messages by topic, and writes them to ``directory`` where one is given.

    Use it as a context manager: it closes its files.
    """

    topics: TopicNames
    directory: Path | None = None
    applications: int = 0
    engagements: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    label_kinds: Counter[str] = field(default_factory=Counter)
    label_reasons: Counter[str] = field(default_factory=Counter)
    final_labels: Counter[str] = field(default_factory=Counter)
    dead_letter_reasons: Counter[str] = field(default_factory=Counter)
    without_effect: Counter[str] = field(default_factory=Counter)
    """Input that was used and changes nothing, by why: known where the stages run in this process."""
    not_as_in_training: list[str] = field(default_factory=list)
    """What differs from the data of the model's training, in sentences: known there too."""

    def __post_init__(self) -> None:
        self._labels = TypeAdapter(Label).validator
        self._files: dict[str, BinaryIO] = {}
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
            outputs = (
                "labels",
                "examples",
                "scores",
                "notifications",
                "coefficients",
                "coefficient_snapshots",
                "dead_letters",
            )
            for output in outputs:
                path = self.directory / f"{output.replace('_', '-')}.jsonl"
                self._files[getattr(self.topics, output)] = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for file in self._files.values():
            file.close()

    def count_events(self, events: Iterable[LogEvent]) -> None:
        """Take note of what goes in."""
        for event in events:
            if event.topic == self.topics.applications:
                self.applications += 1
            else:
                self.engagements += 1

    def add(self, message: Message) -> None:
        """Take in one emitted message."""
        self.messages[message.topic] += 1
        line = message.value
        if message.topic == self.topics.labels and message.value is not None:
            self.add_label(self._labels.validate_json(message.value))
        elif message.topic == self.topics.dead_letters:
            line = self._dead_letter(message)
        if self._files and line is not None:
            self._files[message.topic].write(line + b"\n")

    def add_label(self, label: Label) -> None:
        """Count a label."""
        self.label_kinds[label.kind] += 1
        self.label_reasons[label.reason] += 1
        if label.final:
            self.final_labels[label.kind] += 1

    def counts(self) -> dict[str, Any]:
        """Return the counts as a JSON object's content."""
        return {
            "applications": self.applications,
            "engagements": self.engagements,
            "labels": {
                "total": self.messages[self.topics.labels],
                "by_kind": dict(sorted(self.label_kinds.items())),
                "by_reason": dict(sorted(self.label_reasons.items())),
                "final": dict(sorted(self.final_labels.items())),
            },
            "scores": self.messages[self.topics.scores],
            "notifications": self.messages[self.topics.notifications],
            "examples": self.messages[self.topics.examples],
            "deltas": self.messages[self.topics.coefficients],
            "snapshots": self.messages[self.topics.coefficient_snapshots],
            "dead_letters": self.messages[self.topics.dead_letters],
            "without_effect": dict(sorted(self.without_effect.items())),
            "dead_letters_by_reason": dict(sorted(self.dead_letter_reasons.items())),
            "not_as_in_training": self.not_as_in_training,
        }

    def summary(self) -> str:
        """Return the counts in words."""
        labels = ", ".join(f"{count} {kind}" for kind, count in sorted(self.label_kinds.items()))
        return (
            f"{self.applications} applications and {self.engagements} engagements gave "
            f"{self.messages[self.topics.labels]} labels ({labels}), "
            f"{self.messages[self.topics.coefficients]} deltas, "
            f"{self.messages[self.topics.dead_letters]} dead letters"
        )

    def _dead_letter(self, message: Message) -> bytes:
        """Return a dead letter as a line: the reason's headers by their last names, the bytes as text."""
        reason = {name.removeprefix(PREFIX): text(value) for name, value in message.headers}
        self.dead_letter_reasons[reason.get(EXCEPTION_CLASS.removeprefix(PREFIX), "").rpartition(".")[2]] += 1
        return orjson.dumps({**reason, "key": text(message.key), "value": text(message.value)})


def text(value: bytes | None) -> str:
    """Return bytes of a dead letter as text, whatever they are."""
    return "" if value is None else value.decode(errors="backslashreplace")
