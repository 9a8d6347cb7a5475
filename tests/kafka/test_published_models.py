"""A model bundle takes another's place while a real worker runs, is killed and comes back."""

import asyncio
import shutil
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from aiokafka import ConsumerRecord
from bundles import retrained
from evaluation_ground import EvaluationGround
from ground import Ground, halves, new_ground
from monitoring import scraped
from ports import free_port
from refolding import delta_of, publishing_differences, refold
from typer.testing import CliRunner

from stream_qa.cli import application
from stream_qa.stages.pipeline import build_pipeline, model_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


@pytest.fixture
def ground(broker: str, tmp_path: Path, evaluation_ground: EvaluationGround, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Give a group that begins with a bundle and what it knows, and let our own commands be about it."""
    ground = new_ground(broker, tmp_path, bundle=evaluation_ground.bundle.directory, warm_start=True)
    ground.set_for_commands(monkeypatch)
    return ground


def models(*arguments: str) -> str:
    """Run ``stream-qa models``; return what it prints."""
    done = CliRunner().invoke(application, ["models", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_published_bundle_is_taken_up_and_what_is_learned_follows_from_the_log_of_labels(
    ground: Ground, evaluation_ground: EvaluationGround, tmp_path: Path
) -> None:
    first = evaluation_ground.bundle
    second = retrained(first, tmp_path / "second", precision=2.0)
    other_scales = retrained(first, tmp_path / "other", bound=3.0)
    damaged = retrained(first, tmp_path / "damaged", precision=3.0)
    topics = ground.settings.topics
    before, after = halves(first.directory.with_name("log.jsonl"), tmp_path)

    def names_the_second(records: list[ConsumerRecord]) -> bool:
        return any(orjson.loads(record.value)["model_version"] == second.version for record in records)

    with ThreadPoolExecutor(1) as threads, ground.worker("worker") as worker:
        ground.replay(before, tmp_path / "before")
        published = orjson.loads(models("publish", str(second.directory), "--json"))
        replay = threads.submit(ground.replay, after, tmp_path / "after")
        asyncio.run(ground.read(topics.labels, until=names_the_second))
        worker.kill()
        worker.wait()
        # The one that takes over has nothing but the broker and the bundles.
        shutil.rmtree(ground.directory / "worker")
        for refused in (other_scales, damaged):
            models("publish", str(refused.directory))
        (damaged.directory / "priors.json").write_text("{}")
        # The bundle that labels name cannot be read at first: their partitions wait for it.
        elsewhere = second.directory.rename(tmp_path / "elsewhere")
        worker_log, port = ground.directory / "worker-1.log", free_port()
        with ground.worker("worker", STREAM_QA_WEB_PORT=str(port)):
            while f"labels name model {second.version}, and it cannot be used here" not in worker_log.read_text():
                assert not replay.done()
                time.sleep(0.1)
            elsewhere.rename(second.directory)
            replay.result()
            assert scraped(port)["stream_qa_model_refused"].samples[0].value == 1
    said = worker_log.read_text()
    # Until the second can be read, it is the first that stays.
    assert f"model {other_scales.version} is refused, {first.version} stays: it puts member features on other" in said
    assert f"model {damaged.version} is refused, {first.version} stays: {damaged.directory}/priors.json is not" in said
    listed = orjson.loads(models("list", "--json"))
    assert [(one["number"], one["version"]) for one in listed] == [
        (number, one.version) for number, one in enumerate((second, other_scales, damaged), start=published["number"])
    ]
    assert f"{published['number'] + 2}  {damaged.version}  " in models("list")

    labels, examples, coefficients = (
        asyncio.run(ground.read(topic)) for topic in (topics.labels, topics.examples, topics.coefficients)
    )
    used: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    numbers = {first.version: 0, second.version: published["number"]}
    for partition, records in labels.items():
        for label in (orjson.loads(record.value) for record in records):
            assert label["model_number"] == numbers[label["model_version"]]
            used[partition, label["origin"]].append(label["model_number"])
    assert {number for found in used.values() for number in found} == set(numbers.values())
    for found in used.values():
        assert found == sorted(found)

    pipeline = build_pipeline(ground.settings)
    pipeline.models.add(model_of(ground.settings, second, published["number"]))
    deltas = [delta_of(record.value) for records in coefficients.values() for record in records]
    for kind, stage, log in (("member", pipeline.member, labels), ("job", pipeline.job, examples)):
        of_kind = [delta for delta in deltas if delta.entity_kind == kind]
        assert publishing_differences(of_kind, refold(stage, log).versions) == []
        assert {delta.model_version for delta in of_kind} == {first.version, second.version}
