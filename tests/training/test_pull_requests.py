"""A training on real data: the pull requests of the example, where they are at hand."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from builders import DAY
from typer.testing import CliRunner

from stream_qa.bundle import load_bundle
from stream_qa.cli import application
from stream_qa.events import Record, TopicNames
from stream_qa.learning.drift import DriftWatch, Feature, Finding
from stream_qa.replay.in_process import label_to_the_end
from stream_qa.replay.log import chunks, read_log
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState

pytestmark = [pytest.mark.shared_data, pytest.mark.timeout(900)]

NAMES = Path(__file__).parents[2] / "examples" / "github_pull_requests" / "feature_names.yaml"


class Trained(NamedTuple):
    """A bundle, and what the command said of it."""

    out: Path
    report: dict[str, Any]


@pytest.fixture(scope="module")
def trained(pull_requests: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out = tmp_path_factory.mktemp("models") / "bundle"
    options = ["--until", "2012-10-01", "--names", str(NAMES), "--out", str(out), "--json"]
    found = CliRunner().invoke(application, ["train", str(pull_requests), *options])
    assert found.exit_code == 0, found.output
    return Trained(out, json.loads(found.stdout))


def test_a_fit_of_the_pull_requests_personalises_what_it_has_not_seen(trained: Trained) -> None:
    out, report = trained
    description = report["manifest"]["description"]
    assert (description["applications"], description["converged"]) == (126_788, True)
    # The data set's own figures: of all merged ones 65.8% within a day, 91.1% within the window.
    assert report["positives_answered_by_day"][0] == pytest.approx(0.658 / 0.911, abs=0.02)
    curves = load_bundle(out).curves
    assert curves is not None
    assert curves.share(3_600_000, 0) < curves.share(3_600_000, 8)
    held_out = description["held_out"]
    assert held_out["personalised"]["auc"] > 0.79
    assert held_out["personalised"]["auc"] > held_out["global_only"]["auc"] + 0.08
    assert held_out["personalised"]["log_loss"] < held_out["global_only"]["log_loss"] - 0.05


def test_in_the_half_year_after_it_nothing_is_found_that_is_no_longer_as_it_was(
    trained: Trained, pull_requests: Path
) -> None:
    topics, state, watch = TopicNames(), MemoryState(), DriftWatch()
    stage = build_pipeline(Settings(bundle=trained.out)).label
    found: list[Finding] = []
    until = load_bundle(trained.out).manifest.description.until
    later = [event for event in read_log([pull_requests], topics).events if event.time >= until]
    for number, chunk in enumerate(chunks(later, most=1_000, longest=DAY)):
        records = [Record(event.topic, 0, number, event.key, event.value) for event in chunk]
        for outcome in label_to_the_end(stage, 0, records, state, MemoryState()):
            for seen in outcome.seen:
                found += watch.take(seen)
    assert found == []
    assert watch.applications > 79_000
    assert Feature("job", "share of outside contributions") in watch.distances.features
    assert len(watch.distances.too_far) == 14 + 11 + 2
