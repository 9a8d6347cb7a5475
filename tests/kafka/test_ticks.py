"""Event time goes on, on a real broker, where nothing comes any more."""

from pathlib import Path

import orjson
import pytest
from builders import START, application, engagement
from ground import PARTITIONS, Ground, job_in

from stream_qa.events.fields import Event

pytestmark = pytest.mark.kafka

SECOND = 1_000


def keyed(event: Event, job_id: str) -> tuple[bytes | None, bytes | None]:
    return job_id.encode(), event.model_dump_json().encode()


async def test_labels_of_every_partition_close_though_nothing_comes_any_more(ground: Ground, tmp_path: Path) -> None:
    """Their window is two seconds, and so is the time after which an input is quiet."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"window_days: {2 / 86_400}\n")
    with ground.worker(STREAM_QA_POLICY=str(policy), STREAM_QA_QUIET_SECONDS="1"):
        for partition in range(PARTITIONS):
            job_id = job_in(partition)
            applied = application(f"application-{partition}", job_id=job_id)
            answer = engagement("note", application_id="another", job_id=job_id, engaged_at=START + SECOND)
            await ground.produce(ground.settings.topics.applications, [keyed(applied, job_id)], partition)
            await ground.produce(ground.settings.topics.engagements, [keyed(answer, job_id)], partition)
        found = await ground.read(ground.settings.topics.labels, lambda records: len(records) == 2 * PARTITIONS)
    labels = [orjson.loads(record.value) for records in found.values() for record in records]
    closed = [label for label in labels if label["reason"] == "window-closed"]
    assert {(label["origin"], label["revision"]) for label in closed} == {(number, 2) for number in range(PARTITIONS)}
    assert {label["happened_at"] for label in closed} == {START + 2 * SECOND}
    ticks = await ground.read(ground.settings.topics.ticks)
    assert {
        number: {orjson.loads(record.value)["partition"] for record in records} for number, records in ticks.items()
    } == {number: {number} for number in range(PARTITIONS)}
