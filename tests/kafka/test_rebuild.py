"""A new generation beside the one that serves: begun, caught up while events come, compared, switched to and undone."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from bundles import retrained
from evaluation_ground import EvaluationGround
from ground import PARTITIONS, Ground, new_ground
from refolding import decoded, delta_of, final_outcomes, labels_in_process, publishing_differences, refold
from typer.testing import CliRunner

from stream_qa.bundle import Bundle
from stream_qa.cli import application
from stream_qa.errors import StreamQAError
from stream_qa.events import Decoder, Label
from stream_qa.replay.log import read_log
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

PROGRAM = (sys.executable, "-c", "from stream_qa.cli import main; main()")


@pytest.fixture
def ground(broker: str, tmp_path: Path, evaluation_ground: EvaluationGround) -> Ground:
    """Give a group that began with a bundle, and whose event time moves by events alone."""
    return new_ground(broker, tmp_path, bundle=evaluation_ground.bundle.directory, quiet_seconds=0)


def rebuild(ground: Ground, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 # whatever it prints
    """Run a command of ``stream-qa rebuild`` to its end; return what it prints as JSON, or what it raises."""
    done = CliRunner(env=environment(ground)).invoke(application, ["rebuild", *arguments, "--json"])
    if code == 1:
        assert isinstance(done.exception, StreamQAError)
        return str(done.exception)
    assert done.exit_code == code, done.output + repr(done.exception)
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


def halves(log: Path, directory: Path) -> list[Path]:
    """Write the log in two parts."""
    lines = log.read_bytes().splitlines(keepends=True)
    parts = [directory / "first.jsonl", directory / "second.jsonl"]
    parts[0].write_bytes(b"".join(lines[: len(lines) // 2]))
    parts[1].write_bytes(b"".join(lines[len(lines) // 2 :]))
    return parts


def all_of(ground: Ground, settings: Settings) -> dict[str, Any]:
    """Return all that a group has: every record of its topics, and where it goes on."""

    async def offsets() -> Any:  # noqa: ANN401 # the client's own
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
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


def check_generation(ground: Ground, settings: Settings, log: Path) -> None:
    """Check that a generation's outcomes are those of the events, and its coefficients those of its own log."""
    topics = settings.topics
    labels, examples, coefficients = (
        asyncio.run(ground.read(topic)) for topic in (topics.labels, topics.examples, topics.coefficients)
    )
    written = decoded(Decoder(Label), [record for records in labels.values() for record in records])
    in_process = labels_in_process(read_log([log], topics).events, settings, PARTITIONS)
    assert final_outcomes(written) == final_outcomes(in_process)
    pipeline = build_pipeline(settings)
    deltas = [delta_of(record.value) for records in coefficients.values() for record in records]
    for kind, stage, source in (("member", pipeline.member, labels), ("job", pipeline.job, examples)):
        of_kind = [delta for delta in deltas if delta.entity_kind == kind]
        assert of_kind
        assert publishing_differences(of_kind, refold(stage, source).versions) == []
        assert {delta.model_version for delta in of_kind} == {pipeline.models.first.version}


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

        # It goes on where it was while events come, and both take them.
        with rebuilding(ground, second), ThreadPoolExecutor(1) as threads:
            replayed = threads.submit(ground.replay, after, tmp_path / "after")
            assert rebuild(ground, "switch", "--anyway") == {"serving": 2, "instead_of": 1}
            replayed.result()
            assert rebuild(ground, "undo") == {"serving": 1, "instead_of": 2}
            assert rebuild(ground, "switch", "--generation", "2", "--patience", "300") == {
                "serving": 2,
                "instead_of": 1,
            }
            found = {state["generation"]: state for state in rebuild(ground, "status")}
        assert [found[number]["serves"] for number in (1, 2)] == [False, True]
        assert [found[number]["bundle"]["version"] for number in (1, 2)] == [first.version, second.version]
        assert found[2]["progress"]["share"] == 1.0
        check_generation(ground, old, log)
        check_generation(ground, new, log)

        compared = rebuild(ground, "compare", "--generation", "2", "--with", "1")
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
