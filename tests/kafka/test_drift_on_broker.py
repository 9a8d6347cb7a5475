"""A real worker whose input is no longer as in the training of its bundle: its metrics and its log name the feature."""

import json
from pathlib import Path

import pytest
from drifted_market import drifted_market
from ground import Ground
from monitoring import scraped
from ports import free_port

from stream_qa.learning.drift import APPLICATIONS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


def test_a_feature_in_another_unit_is_in_its_metrics_and_in_its_log(ground: Ground, tmp_path: Path) -> None:
    market, port = drifted_market(tmp_path, ground.settings.topics), free_port()
    with ground.worker(STREAM_QA_BUNDLE=str(market.bundle), STREAM_QA_WEB_PORT=str(port)):
        counts = ground.replay(market.log, tmp_path / "emitted")
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
        ("job", "pay"): market.outside,
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
