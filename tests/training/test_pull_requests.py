"""A training on real data: the pull requests of the example, where they are at hand."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_qa.bundle import load_bundle
from stream_qa.cli import application


@pytest.mark.shared_data
@pytest.mark.timeout(900)
def test_a_fit_of_the_pull_requests_personalises_what_it_has_not_seen(pull_requests: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    options = ["--until", "2012-10-01", "--out", str(out), "--json"]
    trained = CliRunner().invoke(application, ["train", str(pull_requests), *options])
    assert trained.exit_code == 0, trained.output
    report = json.loads(trained.stdout)
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
