"""The learning stages: labels in, coefficients out; one piece of code, set up for members and for jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from stream_qa.coefficients import Publisher
from stream_qa.events import Message, SourceRecord, dead_letter
from stream_qa.learning import RandomEffect
from stream_qa.learning.guard import GuardPolicy
from stream_qa.stages.expiry import NEVER, Expiry
from stream_qa.stages.learn_chunk import LearnChunk, Step
from stream_qa.stages.learner_input import L, LearnerInput
from stream_qa.stages.models import Models
from stream_qa.stages.share import ALL, Share
from stream_qa.stages.state import Outcome, StateReader


@dataclass(frozen=True)
class LearnStage(Generic[L]):
    """Learns the coefficients of one kind of entity.

    Parameters
    ----------
    name
        Names the stage in dead letters.
    models
        What entities can learn by.
    source
        What the stage reads of a label.
    publisher
        What servers get.
    forward
        What the next stage gets for the steps of a partition.
    dead_letters
        The topic for what cannot be used.
    retention
        Milliseconds from an application to the end of its revisions; what it added is remembered so long.
    warm_start
        Whether entities start from what the models' training knew of them.
    expiry
        When entities are over.
    guard
        When publishing stops; ``None`` for never.
    """

    name: str
    models: Models
    source: LearnerInput[L]
    publisher: Publisher
    forward: Callable[[int, Sequence[Step[L]]], list[Message]]
    dead_letters: str
    retention: int
    warm_start: bool = False
    expiry: Expiry = NEVER
    guard: GuardPolicy | None = None

    @property
    def effect(self) -> RandomEffect:
        """How the entities learn by the first model."""
        return self.source.effect(self.models.first)

    def process(
        self, partition: int, records: Sequence[SourceRecord], state: StateReader, share: Share = ALL
    ) -> Outcome:
        """Return what a chunk of one partition, in log order, changes and sends.

        Parameters
        ----------
        partition
            The partition of the source.
        records
            Its records.
        state
            The learner's table of the partition.
        share
            What this partition is of all.

        Raises
        ------
        StateFormatError
            The table was written in another format, or for another number of features.
        RuleMismatchError
            The table was learned by another rule.
        ModelChangedError
            The table began with another prior.
        ModelMissingError
            A label names a model that is not here.
        """
        chunk = LearnChunk(
            self.models,
            self.source,
            self.publisher,
            state,
            retention=self.retention,
            warm_start=self.warm_start,
            expiry=self.expiry,
            guard=self.guard,
            share=share,
        )
        read = self.source.read(records, chunk.dimension)
        chunk.process(read)
        rejected = [dead_letter(self.dead_letters, self.name, record, error) for record, error in read.rejected]
        return Outcome(
            chunk.changes,
            [*rejected, *chunk.publishing.messages, *self.forward(partition, chunk.steps)],
            chunk.unfinished,
            notices=tuple(chunk.publishing.notices),
            held_back=tuple(chunk.publishing.held_back),
            delta_times=tuple(chunk.delta_times),
        )
