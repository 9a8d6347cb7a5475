"""What a worker costs while little or nothing comes: its transactions, counted."""

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from aiokafka import ConsumerRecord
from builders import DAY, START, application, engagement
from ground import PARTITIONS, Ground
from monitoring import has_caught_up, scraped
from ports import free_port

from stream_qa.streaming.partitioner import partition_of

pytestmark = pytest.mark.kafka

TICKS = 10
#: One that writes a tick, one in which it is taken in.
TRANSACTIONS_A_TICK = 2


def transactions(port: int) -> float:
    """Return how many there have been, once nothing waits any more."""
    while True:
        found = scraped(port)
        if has_caught_up(found):
            break
    [count] = [
        sample.value for sample in found["stream_qa_transaction_seconds"].samples if sample.name.endswith("_count")
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
        await ground.read(topics.ticks, lambda records: len(records) >= wanted)
        after = await asyncio.to_thread(transactions, port)
        # Counted last: it has every tick of which there was a transaction.
        ticks = sum(map(len, (await ground.read(topics.ticks)).values())) - before_ticks
    # One more may have been on its way at the beginning.
    assert 0 < after - before <= TRANSACTIONS_A_TICK * (ticks + 1)


def are(count: int, records: Sequence[ConsumerRecord]) -> bool:
    return len(records) >= count


async def test_an_event_goes_through_all_stages_of_a_lone_worker_in_one_transaction(ground: Ground) -> None:
    """Its member and its job are in different partitions; fetched by each stage it would be two or three."""
    topics, port = ground.settings.topics, free_port()
    job_id = "job-1"
    partition = partition_of(job_id.encode(), PARTITIONS)
    member_id = next(f"m-{n}" for n in range(99) if partition_of(b"m-%d" % n, PARTITIONS) != partition)
    counts = []
    with ground.worker(
        STREAM_QA_QUIET_SECONDS="0",
        STREAM_QA_WEB_ENABLED="true",
        STREAM_QA_WEB_PORT=str(port),
    ):
        for number in range(3):
            name, happened_at = f"a-{number}", START + number * DAY
            applied = application(name, member_id=member_id, job_id=job_id, applied_at=happened_at)
            answered = engagement(application_id=name, job_id=job_id, engaged_at=happened_at + 1)
            for topic, event in ((topics.applications, applied), (topics.engagements, answered)):
                await ground.produce(topic, [(job_id.encode(), event.model_dump_json().encode())], partition)
                if topic == topics.applications:
                    await ground.read(topics.scores, partial(are, number + 1))
                else:
                    # The member's and the job's.
                    await ground.read(topics.coefficients, partial(are, 2 * (number + 1)))
                counts.append(await asyncio.to_thread(transactions, port))
    assert np.diff(counts).tolist() == [1] * (len(counts) - 1)
