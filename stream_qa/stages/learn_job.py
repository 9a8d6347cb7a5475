"""The job's learner: examples in; over member features; nothing out but coefficients: here the flow ends."""

from collections.abc import Sequence

from stream_qa.events import Message, wire
from stream_qa.stages.learn_chunk import Step


def offset(example: wire.Example) -> float:
    """Return the log-odds of everything but the job's effect: the example carries the member's part."""
    return example.global_log_odds + example.member_log_odds


def no_output(_partition: int, _steps: Sequence[Step[wire.Example]]) -> list[Message]:
    """Return nothing."""
    return []
