"""Event time goes on, on a real broker, where nothing comes any more."""

from pathlib import Path

import orjson
import pytest
from builders import START, application, engagement
from ground import PARTITIONS, Ground

from stream_qa.events.fields import Event
from stream_qa.streaming.partitioner import partition_of

pytestmark = pytest.mark.kafka

SECOND = 1_000


def keyed(event: Event, job_id: str) -> tuple[bytes | None, bytes | None]:
    return job_id.encode(), event.model_dump_json().encode()


async def test_a_label_closes_though_nothing_comes_any_more(ground: Ground, tmp_path: Path) -> None:
    """Its window is two seconds, and so is the time after which an input is quiet."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"window_days: {2 / 86_400}\n")
    partition = partition_of(b"job-1", PARTITIONS)
    with ground.worker(STREAM_QA_POLICY=str(policy), STREAM_QA_QUIET_SECONDS="1"):
        await ground.produce(ground.settings.topics.applications, [keyed(application(), "job-1")], partition)
        answer = engagement("note", application_id="another", engaged_at=START + SECOND)
        await ground.produce(ground.settings.topics.engagements, [keyed(answer, "job-1")], partition)
        found = await ground.read(ground.settings.topics.labels, lambda records: len(records) == 2)
    labels = [orjson.loads(record.value) for records in found.values() for record in records]
    assert [(label["revision"], label["reason"]) for label in labels] == [(1, "opened"), (2, "window-closed")]
    assert labels[1]["happened_at"] == START + 2 * SECOND
    ticks = await ground.read(ground.settings.topics.ticks)
    assert {number for number, records in ticks.items() if records} == {partition}
