"""A log that was produced long before its worker starts is scored by what was known then, as if it were live."""

import asyncio

import orjson
import pytest
from builders import DAY, START, application, engagement
from ground import PARTITIONS, Ground

from stream_qa.streaming.partitioner import partition_of

pytestmark = pytest.mark.kafka

DAYS = 30
HOUR = DAY // 24


def test_applications_of_a_backlog_are_scored_with_what_their_job_had_learned(ground: Ground) -> None:
    """One job hears from another member every day, and answers within the hour."""
    topics, partition = ground.settings.topics, partition_of(b"job-1", PARTITIONS)
    applications = [
        application(f"application-{day}", member_id=f"member-{day}", applied_at=START + day * DAY)
        for day in range(DAYS)
    ]
    answers = [
        engagement(application_id=sent.application_id, engaged_at=sent.applied_at + HOUR) for sent in applications
    ]

    async def produce() -> None:
        for topic, events in ((topics.applications, applications), (topics.engagements, answers)):
            records: list[tuple[bytes | None, bytes | None]] = [
                (b"job-1", event.model_dump_json().encode()) for event in events
            ]
            await ground.produce(topic, records, partition)

    asyncio.run(produce())
    with ground.worker():
        found = asyncio.run(ground.read(topics.scores, lambda records: len(records) == DAYS))
    scores = sorted(
        (orjson.loads(record.value) for records in found.values() for record in records),
        key=lambda score: int(score["applied_at"]),
    )
    # A step of a day may end before the answer of its day, and is not cut where it is processed.
    assert all(score["job_version"] >= day - 2 for day, score in enumerate(scores))
