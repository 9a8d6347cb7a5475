"""The logs of a worker and of the service: objects with a place in them, and nobody's ids or features."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from builders import application, engagement
from ground import PARTITIONS, Ground, job_in
from poison import POISON
from service_process import ready, service
from test_surroundings import FAULTY

from stream_qa.streaming.partitioner import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

#: In every id, and a feature of everybody.
NAME, FEATURE = "quetzal", 0.123456789
JOB = next(job for number in range(100) if partition_of((job := f"{NAME}-job-{number}").encode(), PARTITIONS) == 1)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_a_worker_and_the_service_log_are_objects_without_ids_and_features(ground: Ground) -> None:
    topics = ground.settings.topics

    def applied(number: int, member_id: str, **other: str) -> bytes:
        made = application(
            f"{NAME}-{number}",
            member_id=member_id,
            job_id=other.get("job_id", JOB),
            member_features=[FEATURE, -FEATURE],
            job_features=[FEATURE],
        )
        return made.model_dump_json(exclude_none=True).encode()

    def answered(number: int, **other: str) -> bytes:
        return (
            engagement(other.get("kind", "message"), application_id=f"{NAME}-{number}", job_id=other.get("job_id", JOB))
            .model_dump_json()
            .encode()
        )

    def send(topic: str, *values: bytes) -> None:
        asyncio.run(ground.produce(topic, [(JOB.encode(), value) for value in values], 1))

    json_logs = {"STREAM_QA_LOG_FORMAT": "json", "STREAM_QA_ON_BUG": "dead-letter", "STREAM_QA_QUIET_SECONDS": "1"}
    # Faust's banner is no log.
    program = [word for each in FAULTY for word in (["-q", each] if each == "-A" else [each])]
    worker = ground.run("worker", *program, **json_logs)
    try:
        with service(ground, STREAM_QA_LOG_FORMAT="json") as client:
            send(
                topics.applications,
                applied(1, f"{NAME}-member"),
                # Twice with other contents, not in its partition, no event, and one on which the code fails.
                applied(1, f"{NAME}-other"),
                applied(2, f"{NAME}-member", job_id=job_in(0)),
                f'{{"application_id": "{NAME}", "member_id": [{FEATURE}]}}'.encode(),
                f"{NAME} no json".encode(),
                applied(3, POISON.decode()),
            )
            send(topics.engagements, answered(1), answered(1, kind="wave"), answered(1, job_id=f"{NAME}-no"))
            asyncio.run(ground.read(topics.dead_letters, until=lambda found: len(found) >= 6))
            asyncio.run(ground.read(topics.ticks, until=lambda found: len(found) > 0))
            while not ready(client):
                time.sleep(0.1)
            client.post("/v1/scores/member", json={"member_id": NAME})
            client.get("/v1/coefficients", params={"side": "member", "entity_id": f"{NAME}-member"})
    finally:
        worker.terminate()
        assert worker.wait(30) == 0
    worker_log, (service_log,) = ground.log_of("worker"), ground.directory.glob("service-*.log")
    for path in (worker_log, service_log):
        said = path.read_text()
        for personal in (NAME, POISON.decode(), str(FEATURE)):
            assert personal not in said, [line for line in said.splitlines() if personal in line]
        assert {"event", "level", "logger", "timestamp"} <= set(lines(path)[0])
    of_worker = lines(worker_log)
    (kept,) = [line for line in of_worker if "goes to the dead letters" in line["event"]]
    assert (kept["level"], kept["stage"], kept["topic"], kept["partition"], kept["offset"]) == (
        "error",
        "member",
        topics.labels,
        partition_of(POISON, PARTITIONS),
        0,
    )
    assert kept["exception"].endswith("ZeroDivisionError")
    # Libraries log in the same form.
    assert {line["logger"].split(".")[0] for line in of_worker} >= {"stream_qa", "faust", "mode"}
