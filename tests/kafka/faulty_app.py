"""The worker's application with a bug in it: the member stage fails on one member's labels."""

from collections.abc import Sequence
from typing import Any

from poison import POISON

from stream_qa.app import app
from stream_qa.events import SourceRecord
from stream_qa.stages.learn import LearnStage

__all__ = ["app"]

_process = LearnStage.process


def fail_on_poison(self: LearnStage[Any], partition: int, records: Sequence[SourceRecord], *more: Any) -> Any:  # noqa: ANN401
    """Process records, unless one of them is the poisonous member's."""
    if self.name == "member" and any(record.key == POISON for record in records):
        raise ZeroDivisionError(f"a bug with {POISON.decode()}")
    return _process(self, partition, records, *more)


LearnStage.process = fail_on_poison  # type: ignore[method-assign,assignment]
