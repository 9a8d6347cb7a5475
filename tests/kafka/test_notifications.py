"""Notifications through a real worker that is killed on the way: what the log of the scores gives, none twice."""

import asyncio

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from builders import DAY, START, application, engagement
from ground import PARTITIONS, Ground, job_in

from stream_qa.events import Record
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.streaming.partitioner import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

#: Fewer days than a notification may be late: one partition of members may be far behind another.
DAYS, JOBS, APPLICATIONS_A_DAY = 10, 8, 5
NOTIFY = {
    "STREAM_QA_NOTIFY_PER_JOB_AND_DAY": "3",
    "STREAM_QA_NOTIFY_PROBABILITY": "0",
    "STREAM_QA_NOTIFY_LEAST_STEPS": "0",
    "STREAM_QA_CHUNK_RECORDS": "20",
}


def test_each_job_hears_of_its_number_a_day_though_the_worker_is_killed(ground: Ground) -> None:
    topics = ground.settings.topics
    jobs = {f"job-{number}": partition_of(f"job-{number}".encode(), PARTITIONS) for number in range(JOBS)}

    async def produce() -> None:
        for partition in set(jobs.values()):
            records: list[tuple[bytes | None, bytes | None]] = []
            for n in range(DAYS * APPLICATIONS_A_DAY):
                for job_id in (name for name, its_partition in jobs.items() if its_partition == partition):
                    applied_at = START + n * DAY // APPLICATIONS_A_DAY
                    sent = application(f"{job_id}-{n}", member_id=f"member-{n}", job_id=job_id, applied_at=applied_at)
                    records.append((job_id.encode(), sent.model_dump_json().encode()))
            await ground.produce(topics.applications, records, partition)

    asyncio.run(produce())
    with ground.worker(**NOTIFY) as worker:
        asyncio.run(ground.read(topics.notifications, lambda records: len(records) > 0))
        worker.kill()
        worker.wait()
    expected = DAYS * JOBS * 3
    with ground.worker(**NOTIFY):
        found = asyncio.run(ground.read(topics.notifications, lambda records: len(records) >= expected))
        scores = asyncio.run(ground.read(topics.scores))
    assert sum(map(len, found.values())) == expected

    settings = ground.settings.model_copy(
        update={"notify_per_job_and_day": 3, "notify_probability": 0.0, "notify_least_steps": 0}
    )
    stage = build_pipeline(settings).notify
    assert stage is not None
    for partition, records in scores.items():
        log = [Record(topics.scores, partition, each.offset, each.key, each.value) for each in records]
        outcome = stage.process(log, MemoryState())
        assert [each.value for each in found[partition]] == [message.value for message in outcome.messages]


async def test_switched_on_again_after_scores_and_ticks_are_gone_they_go_on_with_those_that_come(
    ground: Ground,
) -> None:
    topics, job_id = ground.settings.topics, job_in(0)

    async def apply(name: str) -> None:
        sent = application(name, member_id=name, job_id=job_id, applied_at=START)
        await ground.produce(topics.applications, [(job_id.encode(), sent.model_dump_json().encode())], 0)

    with ground.worker(**NOTIFY, STREAM_QA_QUIET_SECONDS="1"):
        await apply("first")
        answer = engagement("note", application_id="first", job_id=job_id, engaged_at=START + 1)
        await ground.produce(topics.engagements, [(job_id.encode(), answer.model_dump_json().encode())], 0)
        await ground.read(topics.notifications, lambda records: len(records) == 1)
        await ground.read(topics.ticks, lambda records: len(records) > 0)
    with ground.worker():
        await apply("second")
        await ground.read(topics.scores, lambda records: len(records) == 2)
    admin = AIOKafkaAdminClient(**ground.settings.kafka.options())
    await admin.start()
    try:
        to_the_end = RecordsToDelete(before_offset=-1)
        places = [
            TopicPartition(topic, number) for topic in (topics.scores, topics.ticks) for number in range(PARTITIONS)
        ]
        await admin.delete_records(dict.fromkeys(places, to_the_end))
    finally:
        await admin.close()
    with ground.worker(**NOTIFY):
        await apply("third")
        found = await ground.read(topics.notifications, lambda records: len(records) == 2)
    assert [orjson.loads(record.value)["application_id"] for record in found[0]] == ["first", "third"]
