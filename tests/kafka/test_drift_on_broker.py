"""A real worker whose input is no longer as in the training of its bundle: its metrics and its log name the feature."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from ground import Ground
from monitoring import scraped

from stream_qa.broker.ports import free_port
from stream_qa.bundle import load_bundle
from stream_qa.coefficients import FeatureNames
from stream_qa.labels import LabelPolicy
from stream_qa.learning.drift import APPLICATIONS
from stream_qa.replay.log import read_log
from stream_qa.simulation import Marketplace, simulate
from stream_qa.training.history import read_history
from stream_qa.training.joint_fit import HyperParameters
from stream_qa.training.train import train

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

NAMES = FeatureNames(member_features=["experience", "distance"], job_features=["pay", "remote"])
FAST = HyperParameters(prior_sweeps=3, most_sweeps=5)


def test_a_feature_in_another_unit_is_in_its_metrics_and_in_its_log(ground: Ground, tmp_path: Path) -> None:
    path, topics = tmp_path / "log.jsonl", ground.settings.topics
    market = Marketplace(members=300, jobs=120, days=40, applications=APPLICATIONS + 400, features=2)
    events: list[dict[str, Any]] = list(simulate(market, np.random.default_rng(1)).events())
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    read, policy = read_log([path], topics).events, LabelPolicy()
    until = read[-1].time
    history = read_history(read, topics=topics, policy=policy, until=until, max_message_bytes=1_000_000)
    bundle = tmp_path / "bundle"
    train(history, policy=policy, until=until, parameters=FAST, names=NAMES).write(bundle)
    profile = load_bundle(bundle).profile
    assert profile is not None
    outside = 0
    for event in events:
        if event["type"] == "application":
            pay, remote = event["job_features"][0] * 1_000, event["job_features"][1]
            event["job_features"] = [pay, remote]
            outside += not profile.job.least[0] <= pay <= profile.job.most[0]
    changed, port = tmp_path / "changed.jsonl", free_port()
    changed.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))

    with ground.worker(STREAM_QA_BUNDLE=str(bundle), STREAM_QA_WEB_PORT=str(port)):
        counts = ground.replay(changed, tmp_path / "emitted")
        found = scraped(port)

    assert counts["dead_letters"] == 0, json.dumps(counts)
    applications = found["stream_qa_profiled_applications_total"].samples[0].value
    assert applications == counts["applications"] >= APPLICATIONS
    values = {
        (sample.labels["side"], sample.labels["feature"]): sample.value
        for sample in found["stream_qa_feature_outside_range_total"].samples
        if sample.name.endswith("_total")
    }
    assert values == {
        ("member", "experience"): 0,
        ("member", "distance"): 0,
        ("job", "pay"): outside,
        ("job", "remote"): 0,
    }
    drifted = [sample.labels for sample in found["stream_qa_drifted"].samples if sample.value == 1]
    assert [about for about in drifted if about["what"] == "feature"] == [
        {"what": "feature", "side": "job", "feature": "pay"}
    ]
    [log] = tmp_path.glob("worker-*.log")
    said = [line for line in log.read_text().splitlines() if "not as it was in training: feature" in line]
    assert len(said) == 1
    assert "feature 'pay' of the job: " in said[0]
