"""Somebody else writes between two stages of a worker that takes itself for the only one who does."""

import asyncio
from functools import partial

import pytest
from aiokafka import AIOKafkaProducer
from builders import DAY, START, application, engagement
from ground import PARTITIONS, Ground
from monitoring import scraped
from ports import free_port
from test_idle import are

from stream_qa.streaming.partitioner import partition_of

pytestmark = pytest.mark.kafka

JOB, MEMBER = "job-1", "m-1"
PATIENCE_SECONDS = 30


def begun_again(port: int) -> dict[str, float]:
    """Return how often the worker has begun again at what is committed, by why."""
    family = scraped(port).get("stream_qa_interruptions_total")
    samples = [] if family is None else family.samples
    return {sample.labels["reason"]: sample.value for sample in samples if sample.name.endswith("_total")}


async def test_offsets_that_another_has_taken_are_not_taken_for_our_own(ground: Ground) -> None:
    """What the other has in an open transaction cannot be read, so nobody can know of it before it is in the way."""
    topics, port = ground.settings.topics, free_port()
    partition = partition_of(JOB.encode(), PARTITIONS)
    applied = application("a-0", member_id=MEMBER, job_id=JOB)
    answered = engagement(application_id="a-0", job_id=JOB, engaged_at=START + DAY)
    other = AIOKafkaProducer(bootstrap_servers=ground.settings.broker, transactional_id=f"{topics.labels}-another")
    with ground.worker(
        STREAM_QA_QUIET_SECONDS="0",
        STREAM_QA_WEB_ENABLED="true",
        STREAM_QA_WEB_PORT=str(port),
    ):
        await ground.produce(topics.applications, [(JOB.encode(), applied.model_dump_json().encode())], partition)
        await ground.read(topics.scores, partial(are, 1))
        async with other, other.transaction():
            await other.send_and_wait(topics.labels, b"no label", b"m", partition_of(MEMBER.encode(), PARTITIONS))
            await ground.produce(topics.engagements, [(JOB.encode(), answered.model_dump_json().encode())], partition)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await asyncio.to_thread(begun_again, port) != {"OffsetsTakenError": 1}:
                    pass
        await ground.read(topics.coefficients, partial(are, 2))
        refused = await ground.read(topics.dead_letters, partial(are, 1))
    labels = await ground.read(topics.labels, partial(are, 3))
    # Each revision once, though the second was written twice.
    assert [len(records) for records in labels.values() if records] == [3]
    assert [record.key for records in refused.values() for record in records] == [b"m"]
