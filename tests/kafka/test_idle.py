"""What a worker costs while nothing comes: its transactions, counted."""

import asyncio

import pytest
from builders import DAY, START, application, engagement
from ground import PARTITIONS, Ground
from monitoring import scraped

from stream_qa.broker.ports import free_port
from stream_qa.streaming.partitioner import partition_of

pytestmark = pytest.mark.kafka

TICKS = 10
#: One that writes a tick, one in which it is taken in.
TRANSACTIONS_A_TICK = 2


def transactions(port: int) -> float:
    [count] = [
        sample.value
        for sample in scraped(port)["stream_qa_transaction_seconds"].samples
        if sample.name.endswith("_count")
    ]
    return count


async def test_where_nothing_comes_there_are_transactions_for_ticks_alone(ground: Ground) -> None:
    """An input is quiet after a second here, so that there are ticks at all; by default it is after a minute."""
    topics, port = ground.settings.topics, free_port()
    partition = partition_of(b"job-1", PARTITIONS)
    worker = ground.worker(
        STREAM_QA_QUIET_SECONDS="1",
        STREAM_QA_WEB_ENABLED="true",
        STREAM_QA_WEB_PORT=str(port),
    )
    with worker:
        applied, answered = application(), engagement(engaged_at=START + DAY)
        await ground.produce(topics.applications, [(b"job-1", applied.model_dump_json().encode())], partition)
        await ground.produce(topics.engagements, [(b"job-1", answered.model_dump_json().encode())], partition)
        # The first tick says that everything before it is done.
        before_ticks = len((await ground.read(topics.ticks, lambda records: len(records) >= 1))[partition])
        before = await asyncio.to_thread(transactions, port)
        wanted = before_ticks + TICKS
        found = await ground.read(topics.ticks, lambda records: len(records) >= wanted)
        after = await asyncio.to_thread(transactions, port)
    ticks = sum(map(len, found.values())) - before_ticks
    # A tick may be on its way at either moment.
    assert 0 < after - before <= TRANSACTIONS_A_TICK * (ticks + 2)
