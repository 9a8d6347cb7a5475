"""One partition of the label stage for tests: records in, what it sends and what its table holds out."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from builders import as_records

from stream_qa.events import (
    Application,
    Decoder,
    Engagement,
    Label,
    Message,
    Record,
    Tick,
    TopicNames,
    WireDecoder,
    wire,
)
from stream_qa.events.fields import Event
from stream_qa.labels import LabelPolicy
from stream_qa.labels.curves import SilenceCurves
from stream_qa.learning import AdaptiveSGD, BaseRate, Prior, RandomEffect
from stream_qa.learning.features import FeatureSchema
from stream_qa.stages.label import LabelStage
from stream_qa.stages.models import Model, Models
from stream_qa.stages.state import MemoryState

TOPICS = TopicNames()
BASE_RATE = 0.2
BASE_LOG_ODDS = math.log(0.2 / 0.8)


def label_stage(
    policy: LabelPolicy,
    schema: FeatureSchema | None = None,
    most_due: int = 20_000,
    curves: SilenceCurves | None = None,
) -> LabelStage:
    """Return a label stage with this policy."""
    return LabelStage(
        topics=TOPICS,
        policy=policy,
        models=Models(
            Model(
                number=0,
                global_model=BaseRate(BASE_RATE),
                member_effect=RandomEffect("member"),
                job_effect=RandomEffect("job", Prior(4.0, 16.0), AdaptiveSGD()),
                feature_schema=schema,
                curves=curves,
            )
        ),
        applications=WireDecoder(wire.Application, Decoder(Application)),
        engagements=WireDecoder(wire.Engagement, Decoder(Engagement)),
        ticks=WireDecoder(wire.Tick, Decoder(Tick)),
        most_due=most_due,
    )


def items(state: MemoryState) -> dict[bytes, bytes]:
    """Return everything a table holds."""
    return dict(state.scan(b"", b"\xff" * 16))


def labels_of(messages: Iterable[Message]) -> list[Label]:
    """Return the labels among messages, all of them valid by the schema of record."""
    decoded = Decoder(Label).decode(message.value for message in messages if message.topic == TOPICS.labels)
    labels = [label for label in decoded if isinstance(label, Label)]
    assert len(labels) == len(decoded), decoded
    return labels


def reasons_of(messages: Iterable[Message]) -> list[str]:
    """Return the names of the errors behind the dead letters among messages."""
    names = (dict(message.headers)["__connect.errors.exception.class.name"] for message in messages_of(messages))
    return [(name or b"").decode().rpartition(".")[2] for name in names]


def messages_of(messages: Iterable[Message], topic: str = TOPICS.dead_letters) -> list[Message]:
    """Return the messages of a topic, the dead letters unless another is named."""
    return [message for message in messages if message.topic == topic]


@dataclass
class LabelPartition:
    """Partition 0 of both inputs, and all that came of it."""

    policy: LabelPolicy = field(default_factory=lambda: LabelPolicy(jump_days=36_500))
    schema: FeatureSchema | None = None
    state: MemoryState = field(default_factory=MemoryState)
    jobs: MemoryState = field(default_factory=MemoryState)
    messages: list[Message] = field(default_factory=list)
    most_due: int = 20_000
    curves: SilenceCurves | None = None
    unfinished: bool = False
    left: list[Record] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def read(self, *records: Record) -> list[Message]:
        """Take in one chunk of records, after what was left of the one before; return what was sent at first."""
        stage = label_stage(self.policy, self.schema, self.most_due, self.curves)
        self.left = [*self.left, *records]
        outcome = stage.process(0, self.left, self.state, self.jobs)
        self.left = self.left[len(self.left) - outcome.left :]
        self.unfinished = outcome.unfinished or bool(self.left)
        self.counted.update(outcome.counted)
        self.state.apply(outcome.changes)
        self.messages += outcome.messages
        return outcome.messages

    def finish(self) -> int:
        """Take in empty chunks until nothing is left to do; return how many."""
        count = 0
        while self.unfinished:
            self.read()
            count += 1
        return count

    def read_in_chunks(self, chunks: Iterable[Sequence[Record]]) -> None:
        """Take in chunk after chunk."""
        for chunk in chunks:
            self.read(*chunk)

    def take(self, *events: Event) -> list[Label]:
        """Take in one chunk of events; return the labels that were sent."""
        return labels_of(self.read(*as_records(events)))

    @property
    def labels(self) -> list[Label]:
        """Every label sent so far."""
        return labels_of(self.messages)

    @property
    def dead_letters(self) -> list[Message]:
        """Every dead letter sent so far."""
        return messages_of(self.messages)

    @property
    def history(self) -> dict[str, list[Label]]:
        """Every application's labels so far, in their order."""
        history: dict[str, list[Label]] = {}
        for label in self.labels:
            history.setdefault(label.application_id, []).append(label)
        return history
