"""Dead letters: input that could not be used, its bytes untouched, with the reason in the headers.

The headers have the names that Kafka Connect gives them, so that existing tools understand them.
"""

from stream_qa.errors import RejectedError
from stream_qa.events.record import Message, SourceRecord

PREFIX = "__connect.errors."
TOPIC = f"{PREFIX}topic"
PARTITION = f"{PREFIX}partition"
OFFSET = f"{PREFIX}offset"
STAGE = f"{PREFIX}stage"
EXCEPTION_CLASS = f"{PREFIX}exception.class.name"
EXCEPTION_MESSAGE = f"{PREFIX}exception.message"


def dead_letter(topic: str, stage: str, record: SourceRecord, error: RejectedError) -> Message:
    """Return the message for ``topic`` that keeps ``record`` and says why ``stage`` could not use it."""
    reason = {
        TOPIC: record.topic,
        PARTITION: str(record.partition),
        OFFSET: str(record.offset),
        STAGE: stage,
        EXCEPTION_CLASS: f"{type(error).__module__}.{type(error).__qualname__}",
        EXCEPTION_MESSAGE: str(error),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in reason.items())]
    return Message(topic, record.key, record.value, headers)
