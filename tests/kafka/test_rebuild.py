"""A new generation beside the one that serves: begun, caught up while events come, compared, switched to and undone."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from builders import DAY
from builders import application as application_event
from bundles import retrained
from evaluation_ground import EvaluationGround
from ground import PARTITIONS, PROGRAM, Ground, halves, job_in, new_ground
from refolding import decided_outcomes, decoded, delta_of, labels_in_process, publishing_differences, refold
from service_process import POLL_SECONDS, asker, ready, service
from typer.testing import CliRunner

from stream_qa.bundle import Bundle
from stream_qa.cli import application
from stream_qa.errors import StreamQAError
from stream_qa.events import Decoder, Label
from stream_qa.replay.log import read_log
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline

Learned = dict[tuple[str, str], tuple[int, list[float]]]
"""Version and coefficients, by side and id."""

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


@pytest.fixture
def ground(broker: str, tmp_path: Path, evaluation_ground: EvaluationGround) -> Ground:
    """Give a group that began with a bundle, and whose event time moves by events alone."""
    return new_ground(broker, tmp_path, bundle=evaluation_ground.bundle.directory, quiet_seconds=0)


def rebuild(ground: Ground, *arguments: str, code: int | None = 0) -> Any:  # noqa: ANN401 # whatever it prints
    """Run a command of ``stream-qa rebuild`` to its end; return what it prints as JSON, or what it raises.

    It must end with ``code``, or in any way where that is ``None``.
    """
    done = CliRunner(env=environment(ground)).invoke(application, ["rebuild", *arguments, "--json"])
    if code == 1:
        assert isinstance(done.exception, StreamQAError)
        return str(done.exception)
    assert code in (None, done.exit_code), done.output + repr(done.exception)
    return json.loads(done.stdout)


def begin(ground: Ground, bundle: Bundle) -> Any:  # noqa: ANN401 # JSON
    """Begin a generation and end its worker when it has caught up; return the last line that is printed of it."""
    command = [*PROGRAM, "rebuild", "start", "--bundle", str(bundle.directory), "--until-caught-up", "--json"]
    done = subprocess.run(command, env=environment(ground), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def environment(ground: Ground) -> dict[str, str]:
    """Return the environment of a command, with the data directory that the group's worker has."""
    return {**ground.whole_environment, "STREAM_QA_DATA_DIRECTORY": str(ground.directory / "worker")}


@contextmanager
def rebuilding(ground: Ground, bundle: Bundle) -> Iterator[None]:
    """Run the worker of a new generation until the context is left, and check that it ends in order."""
    process = ground.run(
        "rebuild", *PROGRAM, "rebuild", "start", "--bundle", str(bundle.directory), **environment(ground)
    )
    try:
        yield
        assert process.poll() is None, ground.log_of("rebuild").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, ground.log_of("rebuild").read_text()
    finally:
        process.kill()
        process.wait()


def of_generation(ground: Ground, number: int, bundle: Bundle) -> Settings:
    """Return the settings of a generation's workers."""
    return ground.settings.model_copy(update={"generation": number, "bundle": bundle.directory})


def learned_pairs(ground: Ground, settings: Settings) -> dict[str, Any]:
    """Return a request for pairs of members and jobs that have learned."""
    examples = asyncio.run(ground.read(settings.topics.examples))
    newest = [json.loads(records[-1].value) for records in examples.values() if records]
    labels = asyncio.run(ground.read(settings.topics.labels))
    by_id = {}
    for label in (json.loads(record.value) for records in labels.values() for record in records):
        by_id[label["application_id"]] = label
    pairs = [by_id[example["application_id"]] for example in newest]
    return {
        "feature_schema": pairs[0]["feature_schema"],
        "members": unique("member", pairs),
        "jobs": unique("job", pairs),
        "pairs": [{"member_id": pair["member_id"], "job_id": pair["job_id"]} for pair in pairs],
    }


def unique(side: str, pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the members or jobs of pairs, each once."""
    found = {pair[f"{side}_id"]: pair[f"{side}_features"] for pair in pairs}
    return [{f"{side}_id": entity_id, "features": features} for entity_id, features in found.items()]


def all_of(ground: Ground, settings: Settings) -> dict[str, Any]:
    """Return all that a group has: every record of its topics, and where it goes on."""

    async def offsets() -> Any:  # noqa: ANN401 # the client's own
        admin = AIOKafkaAdminClient(**settings.kafka.options())
        await admin.start()
        try:
            return await admin.list_consumer_group_offsets(settings.group_id)
        finally:
            await admin.close()

    found: dict[str, Any] = {"offsets": asyncio.run(offsets())}
    for topic in settings.topics.own():
        records = asyncio.run(ground.read(topic))
        found[topic] = {n: [(one.offset, one.key, one.value) for one in each] for n, each in records.items()}
    return found


def check_generation(ground: Ground, settings: Settings, log: Path) -> Learned:
    """Check that a generation's outcomes are those of the events, and its coefficients those of its own log.

    Returns
    -------
    dict
        What its log of labels, folded in this process, gives for each entity.
    """
    topics = settings.topics
    labels, examples, coefficients = (
        asyncio.run(ground.read(topic)) for topic in (topics.labels, topics.examples, topics.coefficients)
    )
    written = decoded(Decoder(Label), [record for records in labels.values() for record in records])
    in_process = labels_in_process(read_log([log], topics).events, settings, PARTITIONS)
    assert decided_outcomes(written) == decided_outcomes(in_process)
    pipeline = build_pipeline(settings)
    deltas = [delta_of(record.value) for records in coefficients.values() for record in records]
    learned: Learned = {}
    for kind, stage, source in (("member", pipeline.member, labels), ("job", pipeline.job, examples)):
        of_kind = [delta for delta in deltas if delta.entity_kind == kind]
        versions = refold(stage, source).versions
        assert publishing_differences(of_kind, versions) == []
        assert {delta.model_version for delta in of_kind} == {pipeline.models.first.version}
        learned |= {
            (kind, entity_id): (version, vector.tolist())
            for (entity_id, version), vector in sorted(versions.items(), key=lambda item: item[0][1])
        }
    return learned


def held(client: httpx.Client, learned: Learned) -> Learned:
    """Return what a service holds of entities."""
    found: Learned = {}
    for side, entity_id in learned:
        answer = client.get("/v1/coefficients", params={"side": side, "entity_id": entity_id}).raise_for_status().json()
        found[side, entity_id] = (answer["version"], answer["coefficients"])
    return found


@contextmanager
def asking(client: httpx.Client, body: dict[str, Any], versions: dict[int, str]) -> Iterator[list[int]]:
    """Ask a service until the context is left; give the generations that answered, one after the other.

    Every answer is wholly of one generation: its model is that with which the generation began, and so is that by which
    members and jobs have learned.
    """
    answered: list[int] = []
    over = Event()

    def ask() -> int:
        asked = 0
        with asker(client) as own:
            while not over.is_set():
                answer = own.post("/v1/scores/batch", json=body).raise_for_status().json()
                version = versions[answer["generation"]]
                assert (answer["model_version"], answer["personalised"]) == (version, True)
                sides = [*answer["members"].values(), *answer["jobs"].values()]
                assert {each["model_version"] for each in sides} == {version}
                if answered[-1:] != [answer["generation"]]:
                    answered.append(answer["generation"])
                asked += 1
        return asked

    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask)
        try:
            yield answered
        finally:
            over.set()
        assert asked.result() > 0


def until(answered: list[int], expected: list[int]) -> None:
    """Wait until these generations have answered."""
    while answered != expected:
        assert answered == expected[: len(answered)]
        time.sleep(POLL_SECONDS)


def test_a_generation_is_begun_beside_another_that_goes_on_as_if_it_were_alone(
    ground: Ground, evaluation_ground: EvaluationGround, tmp_path: Path
) -> None:
    first = evaluation_ground.bundle
    second = retrained(first, tmp_path / "second", precision=2.0, bound=3.0)
    old, new = of_generation(ground, 1, first), of_generation(ground, 2, second)
    log = first.directory.with_name("log.jsonl")
    before, after = halves(log, tmp_path)
    with ground.worker("worker"):
        ground.replay(before, tmp_path / "before")
        alone = all_of(ground, old)
        told = begin(ground, second)
        events = len(before.read_bytes().splitlines())
        assert (told["generation"], told["processed"], told["of"], told["caught_up"]) == (2, events, events, True)
        assert all_of(ground, old) == alone

        # It goes on where it was while events come, and both take them. A client asks all the time.
        versions = {1: first.version, 2: second.version}
        with (
            rebuilding(ground, second),
            service(ground) as client,
            ThreadPoolExecutor(1) as threads,
        ):
            while not ready(client):
                time.sleep(POLL_SECONDS)
            with asking(client, learned_pairs(ground, old), versions) as answered:
                replayed = threads.submit(ground.replay, after, tmp_path / "after")
                assert rebuild(ground, "switch", "--anyway") == {"serving": 2, "instead_of": 1}
                until(answered, [1, 2])
                replayed.result()
                assert rebuild(ground, "undo") == {"serving": 1, "instead_of": 2}
                until(answered, [1, 2, 1])
                chosen = ("--generation", "2", "--patience", "300")
                assert rebuild(ground, "switch", *chosen) == {"serving": 2, "instead_of": 1}
                until(answered, [1, 2, 1, 2])
            found = {state["generation"]: state for state in rebuild(ground, "status")}
            check_generation(ground, old, log)
            learned = check_generation(ground, new, log)
            while (served := held(client, learned)) != learned:
                # It may still lack what came last, and is never beyond it.
                assert all(served[key][0] <= version for key, (version, _) in learned.items())
                assert all(served[key] == learned[key] or served[key][0] < learned[key][0] for key in learned)
        assert [found[number]["serves"] for number in (1, 2)] == [False, True]
        assert [found[number]["bundle"]["version"] for number in (1, 2)] == [first.version, second.version]
        assert found[2]["progress"]["share"] == 1.0

        # Which is better depends on how far the jobs had come when each application was scored.
        compared = rebuild(ground, "compare", "--generation", "2", "--with", "1", code=None)
        assert compared["applications"] > 100
        assert compared["since"] == second.manifest.description.until
        difference = compared["newer_quality"]["log_loss"]["value"] - compared["older_quality"]["log_loss"]["value"]
        assert compared["log_loss_difference"]["value"] == pytest.approx(difference)
        assert "serves" in rebuild(ground, "finish", "2", code=1)
        assert "workers of generation 1 run" in rebuild(ground, "finish", "1", code=1)
    kept = old.topics.labels
    doomed = sorted(set(old.topics.own()) - {kept})
    assert sorted(rebuild(ground, "finish", "1", code=2)["topics"]) == doomed
    assert rebuild(ground, "finish", "1", "--yes")["deleted"]
    assert rebuild(ground, "finish", "1", code=0) == {"topics": [], "deleted": False}
    assert "generation 1 is ended" in rebuild(ground, "undo", code=1)


def test_what_would_not_be_learned_or_twice_is_refused_and_what_runs_a_worker_is_printed(
    ground: Ground, evaluation_ground: EvaluationGround
) -> None:
    bundle, applications = evaluation_ground.bundle, ground.settings.topics.applications
    until = bundle.manifest.description.until
    places = {}
    for partition, applied_at in ((0, until), (1, until + DAY), (1, until + 2 * DAY)):
        job_id = job_in(partition)
        event = application_event(f"a-{applied_at}", job_id=job_id, applied_at=applied_at)
        value = event.model_dump_json(exclude_none=True).encode()
        asyncio.run(ground.produce(applications, [(job_id.encode(), value)], partition))
        places[partition] = TopicPartition(applications, partition)
    start = ("start", "--bundle", str(bundle.directory), "--no-worker")

    assert rebuild(ground, "status") == []
    # All is there, from when the bundle was trained: nothing is lost, and nothing counts twice.
    for arguments in ((), ("--warm-start",)):
        printed = rebuild(ground, *start, *arguments, "--new")
    assert printed["generation"] == 3
    assert printed["environment"] == {
        "STREAM_QA_GENERATION": "3",
        "STREAM_QA_WARM_START": "true",
        "STREAM_QA_BUNDLE": str(bundle.directory),
    }
    assert printed["command"] == ["faust", "-A", "stream_qa.app", "worker", "-l", "info"]
    assert rebuild(ground, *start)["generation"] == 3

    async def forget() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=ground.settings.broker)
        await admin.start()
        try:
            await admin.delete_records({places[1]: RecordsToDelete(before_offset=1)})
            # And a topic that somebody has made as it must not be.
            await admin.create_topics([NewTopic(f"{ground.settings.topics.labels}.g4", 2, 1)])
        finally:
            await admin.close()

    asyncio.run(forget())
    said = rebuild(ground, *start, "--new", code=1)
    assert said.startswith("the first 1 records of the inputs are gone, which go back to ")
    said = rebuild(ground, *start, "--new", "--anyway", code=1)
    assert "labels.g4 has 2 partitions and must have 4" in said
    assert [state["generation"] for state in rebuild(ground, "status")] == [1, 2, 3]
