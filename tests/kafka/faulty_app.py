"""The worker's application with a bug in it: the member stage fails on one member's labels."""

from collections.abc import Sequence
from typing import Any

from stream_qa import app as whole
from stream_qa.events import SourceRecord

POISON = b"poisonous-member"

app = whole.app
_process = app.lanes._pipeline.member.process


def fail_on_poison(partition: int, records: Sequence[SourceRecord], state: Any) -> Any:  # noqa: ANN401
    if any(record.key == POISON for record in records):
        raise ZeroDivisionError("a bug")
    return _process(partition, records, state)


object.__setattr__(app.lanes._pipeline.member, "process", fail_on_poison)
