"""What a marketplace's events have become so far."""

from collections import deque

import numpy as np
from pydantic import TypeAdapter

from stream_qa.events import Delta, Label, Message, Score
from stream_qa.learning.metrics import auc
from stream_qa.replay.report import Report

_LAST_DELTAS = 4
_STRONGEST = 2


class Progress(Report):
    """A report that also follows scores until their labels come, and what is learned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.entities: set[bytes | None] = set()
        """The keys of those that have learned."""
        self.last_deltas: deque[str] = deque(maxlen=_LAST_DELTAS)
        self._scores: dict[str, Score] = {}
        self._outcomes: dict[str, int] = {}
        self._score = TypeAdapter(Score).validator
        self._delta = TypeAdapter(Delta).validator

    def add(self, message: Message) -> None:
        """Take in one emitted message."""
        super().add(message)
        if message.value is None:
            return
        if message.topic == self.topics.scores:
            score: Score = self._score.validate_json(message.value)
            self._scores[score.application_id] = score
        elif message.topic == self.topics.coefficients:
            delta: Delta = self._delta.validate_json(message.value)
            self.entities.add(message.key)
            self.last_deltas.append(in_words(delta))

    def add_label(self, label: Label) -> None:
        """Count a label, and keep what it says of its application."""
        super().add_label(label)
        if label.value is not None:
            self._outcomes[label.application_id] = label.value

    def aucs(self) -> tuple[float | None, float | None]:
        """Return the AUC of the scores made when applications arrived: personalised, and by the global model alone."""
        known = [(self._scores[found], value) for found, value in self._outcomes.items() if found in self._scores]
        values = np.array([value for _, value in known], np.float64)
        return (
            auc(values, np.array([score.log_odds for score, _ in known])),
            auc(values, np.array([score.global_log_odds for score, _ in known])),
        )


def in_words(delta: Delta) -> str:
    """Say what a delta means, by the coordinates that moved most."""
    strongest = sorted(enumerate(delta.change), key=lambda item: -abs(item[1]))[:_STRONGEST]
    moves = ", ".join(f"{'intercept' if place == 0 else f'feature {place}'} {move:+.3f}" for place, move in strongest)
    applications = f"{delta.labels} application{'s' if delta.labels != 1 else ''}"
    return f"{delta.entity_id}, version {delta.version}, from {applications}: {moves}"
