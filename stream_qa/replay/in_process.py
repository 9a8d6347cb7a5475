"""The same stages in one process, without a broker: what a log means, by the code that the workers run."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from stream_qa.events import Message, Record, SourceRecord
from stream_qa.learning.drift import About, DriftWatch
from stream_qa.replay.log import LogEvent
from stream_qa.stages.label import LabelStage
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import Pipeline
from stream_qa.stages.state import MemoryState, Outcome, State, StateReader
from stream_qa.streaming.partitioner import partition_of, share_of


class Sink(Protocol):
    """Takes in what the stages emit."""

    def add(self, message: Message) -> None:
        """Take in one emitted message."""


def label_to_the_end(
    stage: LabelStage, partition: int, records: Sequence[SourceRecord], state: State, jobs: StateReader
) -> Iterator[Outcome]:
    """Let the label stage take a chunk of a partition and do all that it brings about; yield what is applied already.

    Parameters
    ----------
    stage
        The label stage.
    partition
        The partition of both inputs.
    records
        The chunk.
    state
        The label table of the partition.
    jobs
        The job learner's table of the partition.
    """
    while True:
        outcome = stage.process(partition, records, state, jobs)
        state.apply(outcome.changes)
        yield outcome
        records = records[len(records) - outcome.left :]
        if not (records or outcome.unfinished):
            return


class InProcessReplay:
    """Drives the stages over partitions like those of the topics.

    Parameters
    ----------
    pipeline
        The stages.
    partitions
        How many partitions the topics would have: event time is kept for each apart.
    report
        Takes in what the stages emit.
    new_state
        Makes the table of a stage's partition, by its name.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        partitions: int,
        report: Sink,
        new_state: Callable[[str], State] = lambda _name: MemoryState(),
    ) -> None:
        self.without_effect: Counter[str] = Counter()
        """Input that was used and changes nothing, by why."""
        self.findings: dict[About, str] = {}
        """What was not as in the training of the model, and how: as it was found last."""
        self._drift = DriftWatch()
        self._pipeline = pipeline
        self._topics = pipeline.label.topics
        self._report = report
        self._partitions = partitions
        self._offsets: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._label, self._member, self._job, self._notify = (
            [new_state(f"{stage}-{partition}") for partition in range(partitions)]
            for stage in ("label", "member", "job", "notify")
        )

        for learner, states in ((pipeline.member, self._member), (pipeline.job, self._job)):
            if learner.warm_start:
                for partition, state in enumerate(states):
                    self._learn(learner, partition, [], state)

    def run(self, chunk: Sequence[LogEvent]) -> None:
        """Take a chunk of events, in order, through all stages."""
        events = (Message(event.topic, event.key, event.value) for event in chunk)
        labels: list[Message] = []
        for partition, records in self._by_partition(events).items():
            state, jobs = self._label[partition], self._job[partition]
            for outcome in label_to_the_end(self._pipeline.label, partition, records, state, jobs):
                labels += self._take_in(outcome)
        learned: list[Message] = []
        for partition, records in self._by_partition(self._only(labels, self._topics.labels)).items():
            learned += self._learn(self._pipeline.member, partition, records, self._member[partition])
        for partition, records in self._by_partition(self._only(learned, self._topics.examples)).items():
            self._learn(self._pipeline.job, partition, records, self._job[partition])
        if (notify := self._pipeline.notify) is None:
            return
        for partition, records in self._by_partition(self._only(learned, self._topics.scores)).items():
            state = self._notify[partition]
            self._commit(state, notify.process(records, state))

    def _learn(
        self, learner: LearnStage[Any], partition: int, records: Sequence[SourceRecord], state: State
    ) -> list[Message]:
        """Let a learner take a chunk of a partition and do all that it brings about; return what it sends."""
        share = share_of(partition, self._partitions)
        messages: list[Message] = []
        while True:
            outcome = learner.process(partition, records, state, share)
            messages += self._commit(state, outcome)
            if not outcome.unfinished:
                return messages
            records = []

    def _commit(self, state: State, outcome: Outcome) -> list[Message]:
        state.apply(outcome.changes)
        return self._take_in(outcome)

    def _take_in(self, outcome: Outcome) -> list[Message]:
        self.without_effect.update(outcome.counted)
        for message in outcome.messages:
            self._report.add(message)
        for seen in outcome.seen:
            self.findings.update(self._drift.take(seen))
        return outcome.messages

    def _by_partition(self, messages: Iterable[Message]) -> dict[int, list[Record]]:
        """Return the messages as records of their partitions, each in order."""
        records: defaultdict[int, list[Record]] = defaultdict(list)
        for message in messages:
            partition = partition_of(message.key, self._partitions)
            place = (message.topic, partition)
            records[partition].append(Record(*place, self._offsets[place], message.key, message.value))
            self._offsets[place] += 1
        return records

    @staticmethod
    def _only(messages: Iterable[Message], topic: str) -> Iterable[Message]:
        return (message for message in messages if message.topic == topic)
