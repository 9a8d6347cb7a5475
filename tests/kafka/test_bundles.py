"""A worker whose global model is an ONNX file."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from builders import DAY
from ground import Ground

from stream_qa.bundle import load_bundle
from stream_qa.labels import LabelPolicy
from stream_qa.replay.log import read_log
from stream_qa.simulation import Marketplace, simulate
from stream_qa.training.history import read_history
from stream_qa.training.joint_fit import HyperParameters
from stream_qa.training.train import train
from stream_qa.training.trees import grow_trees

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

FAST = HyperParameters(prior_sweeps=5, most_sweeps=20)


def by_application(ground: Ground, topic: str) -> dict[str, dict[str, Any]]:
    """Return what each application's last record of a topic says."""
    found = [orjson.loads(record.value) for records in asyncio.run(ground.read(topic)).values() for record in records]
    return {content["application_id"]: content for content in found}


def test_a_worker_scores_by_the_trees_of_its_bundle(ground: Ground, tmp_path: Path) -> None:
    path, topics = tmp_path / "log.jsonl", ground.settings.topics
    market = Marketplace(members=80, jobs=30, days=60, applications=1_000, features=2)
    log = simulate(market, np.random.default_rng(1)).events()
    lines = [{name: value for name, value in event.items() if name != "global_log_odds"} for event in log]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    events, policy = read_log([path], topics).events, LabelPolicy()
    until = events[0].time + 50 * DAY
    history = read_history(events, topics=topics, policy=policy, until=until, max_message_bytes=1_000_000)
    train(history, policy=policy, until=until, parameters=FAST, onnx_fit=grow_trees).write(tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")

    with ground.worker(STREAM_QA_BUNDLE=str(bundle.directory)):
        counts = ground.replay(path, tmp_path / "emitted")

    scores, labels = by_application(ground, topics.scores), by_application(ground, topics.labels)
    assert len(scores) == counts["applications"] > 500
    assert {score["model_version"] for score in scores.values()} == {bundle.version}
    odds = bundle.global_model.score(
        np.array([labels[name]["member_features"] for name in scores]),
        np.array([labels[name]["job_features"] for name in scores]),
    )
    assert len(set(odds.tolist())) > 100
    assert [score["global_log_odds"] for score in scores.values()] == odds.tolist()
