"""Reading a topic from one offset to another."""

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from ports import free_port

from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming import topic_range
from stream_qa.streaming.topic_range import reader


async def test_a_reader_that_cannot_connect_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker can go away between two questions."""
    stopped = []

    async def counts(_kafka: KafkaAccess, topics: list[str]) -> dict[str, int]:
        return dict.fromkeys(topics, 1)

    class Consumer(AIOKafkaConsumer):  # type: ignore[misc] # aiokafka has no types
        async def stop(self) -> None:
            await super().stop()
            stopped.append(self)

    monkeypatch.setattr(topic_range, "existing_counts", counts)
    monkeypatch.setattr(topic_range, "AIOKafkaConsumer", Consumer)
    with pytest.raises(KafkaConnectionError):
        async with reader(KafkaAccess((f"127.0.0.1:{free_port()}",)), "dead-letters"):
            pass
    assert len(stopped) == 1
