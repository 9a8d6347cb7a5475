"""The member's learner: labels in; over job features; scores, and examples for the job's learner, out."""

from collections.abc import Sequence

import numpy as np

from stream_qa.events import Message, TopicNames, wire
from stream_qa.learning import probability
from stream_qa.stages.learn_chunk import Step


def offset(label: wire.Label) -> float:
    """Return the log-odds of everything but the member's effect: the label carries the job's part."""
    return label.global_log_odds + label.job_log_odds


class MemberOutput:
    """What the member's learner sends on, besides coefficients."""

    def __init__(self, topics: TopicNames) -> None:
        self._topics = topics

    def __call__(self, partition: int, steps: Sequence[Step[wire.Label]]) -> list[Message]:
        """Return a score for every application that opens and an example for every label that was learned from."""
        opened = [step for step in steps if step.label.revision == 1]
        totals = np.array([offset(step.label) + step.log_odds for step in opened])
        scores = [
            self._score(step, total, chance)
            for step, total, chance in zip(opened, totals.tolist(), probability(totals).tolist(), strict=True)
        ]
        return [*scores, *(self._example(partition, step) for step in steps if step.learned)]

    def _score(self, step: Step[wire.Label], log_odds: float, chance: float) -> Message:
        label = step.label
        score = wire.Score(
            label.application_id,
            label.member_id,
            label.job_id,
            label.applied_at,
            label.global_log_odds,
            step.log_odds,
            label.job_log_odds,
            log_odds,
            chance,
            label.model_version,
            step.version,
            label.job_version,
        )
        return Message(self._topics.scores, label.job_id.encode(), wire.encode(score))

    def _example(self, partition: int, step: Step[wire.Label]) -> Message:
        label = step.label
        example = wire.Example(
            label.application_id,
            label.member_id,
            label.job_id,
            label.revision,
            label.value,
            label.weight,
            label.final,
            label.happened_at,
            label.applied_at,
            label.feature_schema,
            label.member_features,
            label.global_log_odds,
            step.log_odds,
            step.version,
            partition,
            label.watermark,
            label.model_version,
            label.model_number,
        )
        return Message(self._topics.examples, label.job_id.encode(), wire.encode(example))
