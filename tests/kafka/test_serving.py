"""The scoring service as a process, over a real broker and beside a real worker."""

import asyncio
import signal
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import DAY, START, application, engagement
from bundles import retrained
from evaluation_ground import EvaluationGround
from ground import PROGRAM, Ground, job_in, new_ground
from ports import free_port
from refolding import decoded
from service_process import POLL_SECONDS, ready, service

from stream_qa.bundle import MANIFEST, Bundle
from stream_qa.events import Decoder, PublishedModel, Score
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming import model_topic

pytestmark = pytest.mark.kafka

JOB = job_in(1)


def scored(client: httpx.Client) -> dict[str, Any]:
    """Return how the member of the default application is scored against its job."""
    body = {
        "feature_schema": "two-and-one",
        "member": {"member_id": "member-1", "features": [0.5, -1.0]},
        "jobs": [{"job_id": JOB, "features": [2.0]}],
    }
    found: dict[str, Any] = client.post("/v1/scores/member", json=body).raise_for_status().json()
    return found


def newest_score(ground: Ground) -> Score:
    """Return the worker's score of the second application, when it is there."""
    found = asyncio.run(ground.read(ground.settings.topics.scores, until=lambda records: len(records) > 1))
    scores = decoded(Decoder(Score), [record for records in found.values() for record in records])
    return next(score for score in scores if score.application_id == "application-2")


def test_an_engagement_changes_the_served_score_and_a_restarted_service_still_has_it(ground: Ground) -> None:
    topics = ground.settings.topics

    def send(topic: str, message: str) -> None:
        asyncio.run(ground.produce(topic, [(JOB.encode(), message.encode())], 1))

    with ground.worker(), service(ground) as client:
        while not ready(client):
            time.sleep(POLL_SECONDS)
        before = scored(client)
        assert (before["members"]["member-1"]["version"], before["scores"][0]["probability"]) == (0, 0.25)

        send(topics.applications, application(job_id=JOB).model_dump_json(exclude_none=True))
        send(topics.engagements, engagement(job_id=JOB).model_dump_json(exclude_none=True))
        after = before
        while not (after["members"]["member-1"]["version"] and after["jobs"][JOB]["version"]):
            time.sleep(POLL_SECONDS)
            after = scored(client)
        (score,) = after["scores"]
        assert score["member_log_odds"] > 0
        assert score["job_log_odds"] > 0
        assert score["probability"] > 0.25
        assert [after["members"]["member-1"]["labels"], after["jobs"][JOB]["labels"]] == [1, 1]
        assert (after["personalised"], after["notices"]) == (True, [])
        assert after["stale_seconds"] is not None

        # The worker, asked the same by an application, says the same.
        another = application("application-2", job_id=JOB, applied_at=START + 2 * DAY)
        send(topics.applications, another.model_dump_json(exclude_none=True))
        of_worker = newest_score(ground)
        for part in ("global_log_odds", "member_log_odds", "job_log_odds", "log_odds", "probability"):
            assert score[part] == pytest.approx(getattr(of_worker, part), abs=1e-6)
        assert of_worker.member_version == after["members"]["member-1"]["version"]
        assert of_worker.job_version == after["jobs"][JOB]["version"]

    # The broker is elsewhere now: what was kept is served, and it says what it lacks.
    with service(ground, STREAM_QA_BROKER=f"127.0.0.1:{free_port()}") as client:
        kept = scored(client)
        assert kept["scores"] == after["scores"]
        assert kept["notices"] == ["the topics are still being read to where they ended"]
        assert not ready(client)


def test_a_published_model_scores_from_then_on_and_one_that_does_not_fit_is_refused(
    broker: str, tmp_path: Path, evaluation_ground: EvaluationGround
) -> None:
    first = evaluation_ground.bundle
    second = retrained(first, tmp_path / "second", precision=2.0)
    third = retrained(first, tmp_path / "third", precision=3.0)
    other_scales = retrained(first, tmp_path / "other", bound=3.0)
    ground = new_ground(broker, tmp_path, bundle=first.directory)

    def scoring(client: httpx.Client, version: str) -> None:
        while client.get("/v1/model").json()["model_version"] != version:
            time.sleep(POLL_SECONDS)

    def publish(bundle: Bundle) -> None:
        digest = sha256((bundle.directory / MANIFEST).read_bytes()).hexdigest()
        model = PublishedModel(
            version=bundle.version,
            feature_schema=str(bundle.feature_schema),
            location=str(bundle.directory),
            sha256=digest,
        )
        asyncio.run(model_topic.publish(KafkaAccess((broker,)), ground.settings.topics.models, model))

    with service(ground) as client:
        scoring(client, first.version)
        publish(second)
        scoring(client, second.version)
        publish(other_scales)
        publish(third)
        scoring(client, third.version)
    with service(ground, signal.SIGINT) as client:
        while not ready(client):
            time.sleep(POLL_SECONDS)
        assert client.get("/v1/model").json()["model_version"] == third.version
    logs = [path.read_text() for path in ground.directory.glob("service-*.log")]
    assert all("other scales" in log for log in logs)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"STREAM_QA_BUNDLE": "/no/bundle"}, "BundleError: "),
        ({"STREAM_QA_SERVE_HOST": "203.0.113.1"}, "SettingsError: the service cannot listen on 203.0.113.1"),
        ({"STREAM_QA_SERVE_STORE": "/proc/store"}, "DiskError: "),
    ],
)
def test_it_refuses_to_start_with_a_sentence(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    program = [*PROGRAM, "serve"]
    port = {"STREAM_QA_SERVE_PORT": str(free_port())}
    done = subprocess.run(program, env=port | settings, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 2  # and what to do
