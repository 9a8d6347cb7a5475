"""``stream-qa train``: a log and a moment in, a bundle and what it says of itself out."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_files import weighted
from typer.testing import CliRunner, Result

from stream_qa.bundle import load_bundle
from stream_qa.cli import application
from stream_qa.errors import MissingExtraError, OnnxModelError, PolicyError, TrainingError


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.jsonl.gz"
    market = ["--members", "60", "--jobs", "30", "--days", "70", "--applications", "1500", "--features", "2"]
    assert CliRunner().invoke(application, ["simulate", str(path), *market]).exit_code == 0
    return path


@pytest.fixture(scope="module")
def without_scores(log: Path) -> Path:
    """Give the same log with no scores in its applications."""
    path = log.parent / "without_scores.jsonl"
    lines = [json.loads(line) for line in gzip.decompress(log.read_bytes()).splitlines()]
    path.write_text(
        "".join(json.dumps({k: v for k, v in line.items() if k != "global_log_odds"}) + "\n" for line in lines)
    )
    return path


def train(log: Path, out: Path, *more: str, until: str = "2026-03-10") -> Result:
    return CliRunner().invoke(application, ["train", str(log), "--until", until, "--out", str(out), *more])


def test_it_writes_a_bundle_and_says_what_is_in_it(log: Path, tmp_path: Path) -> None:
    trained = train(log, tmp_path / "bundle")
    assert trained.exit_code == 0
    version = load_bundle(tmp_path / "bundle").version
    assert version.startswith("2026-03-10-")
    for said in (version, "silence curves", "AUC", "days  share", "14    1.000"):
        assert said in trained.stdout
    assert "labelling" in trained.stderr


def test_as_json_it_is_the_manifest_the_days_and_what_was_not_used(log: Path, tmp_path: Path) -> None:
    trained = train(log, tmp_path / "bundle", "--json")
    report = json.loads(trained.stdout)
    assert report["manifest"] == json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert len(report["positives_answered_by_day"]) == 14
    assert report["rejected"] == {}


def test_the_policy_may_be_another_one(log: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("window_days: 7\n")
    report = json.loads(train(log, tmp_path / "bundle", "--json", "--policy", str(policy)).stdout)
    assert report["manifest"]["description"]["policy"]["window_days"] == 7
    assert len(report["positives_answered_by_day"]) == 7
    assert isinstance(train(log, tmp_path / "other", "--policy", str(tmp_path / "none")).exception, PolicyError)


def test_it_does_not_write_into_a_directory_that_exists(log: Path, tmp_path: Path) -> None:
    trained = train(log, tmp_path)
    assert trained.exit_code == 2
    assert "--out" in trained.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_moment_before_the_log_is_an_error_and_leaves_nothing(log: Path, tmp_path: Path) -> None:
    trained = train(log, tmp_path / "bundle", until="2020-01-01")
    assert isinstance(trained.exception, TrainingError)
    assert not (tmp_path / "bundle").exists()


def test_the_feature_scales_of_another_bundle_can_be_kept(log: Path, tmp_path: Path) -> None:
    assert train(log, tmp_path / "first", until="2026-02-20").exit_code == 0
    assert train(log, tmp_path / "second").exit_code == 0
    assert train(log, tmp_path / "kept", "--scales-of", str(tmp_path / "first")).exit_code == 0
    bundles = [load_bundle(tmp_path / name) for name in ("first", "second", "kept")]
    first, second, kept = (bundle.global_model for bundle in bundles)
    assert np.array_equal(kept.member_features.means, first.member_features.means)
    assert np.array_equal(kept.job_features.scales, first.job_features.scales)
    assert not np.array_equal(second.member_features.means, first.member_features.means)
    # Nothing else is that of the other bundle.
    of_first, of_second, of_kept = (bundle.member_prior.scale(3) for bundle in bundles)
    assert of_kept == pytest.approx(of_second, rel=0.2)
    assert not np.array_equal(of_kept, of_first)


def test_features_can_be_taken_as_they_are(log: Path, tmp_path: Path) -> None:
    assert train(log, tmp_path / "bundle", "--plain-features").exit_code == 0
    model = load_bundle(tmp_path / "bundle").global_model
    assert np.array_equal(model.member_features.means, np.zeros(2))
    assert np.array_equal(model.job_features.scales, np.ones(2))
    assert model.job_features.bound == 20
    both = train(log, tmp_path / "both", "--plain-features", "--scales-of", str(tmp_path / "bundle"))
    assert both.exit_code == 2


def test_scales_of_other_features_are_an_error(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    market = ["--members", "60", "--jobs", "30", "--days", "70", "--applications", "1500", "--features", "1"]
    assert CliRunner().invoke(application, ["simulate", str(other), *market]).exit_code == 0
    assert train(other, tmp_path / "other").exit_code == 0
    trained = train(log, tmp_path / "bundle", "--scales-of", str(tmp_path / "other"))
    assert isinstance(trained.exception, TrainingError)


def test_the_global_model_may_be_trees_with_which_a_log_is_evaluated(without_scores: Path, tmp_path: Path) -> None:
    trained = train(without_scores, tmp_path / "trees", "--global-model", "trees", until="2026-02-15")
    assert trained.exit_code == 0
    assert (tmp_path / "trees" / "global.onnx").exists()
    range_of_time = ["--from", "2026-02-15", "--until", "2026-02-25"]
    chosen = ["--bundle", str(tmp_path / "trees"), "--models", "global,trees-once,batch-daily-fast", "--json"]
    evaluated = CliRunner().invoke(application, ["evaluate", str(without_scores), *range_of_time, *chosen])
    by_all, trees, batch = json.loads(evaluated.stdout)
    # The same trees, grown on the same applications.
    assert {**by_all, "name": "trees-once"} == pytest.approx(trees)
    assert batch["auc"] != by_all["auc"]


def test_the_global_model_may_be_an_onnx_file(without_scores: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(weighted(shape=("n", 4), numbers=[1.0, -1.0, 0.5, 0.25]))
    assert train(without_scores, tmp_path / "bundle", "--global-model", "onnx", "--onnx", str(path)).exit_code == 0
    model = load_bundle(tmp_path / "bundle").global_model
    assert model.score(np.array([[1.0, 2.0]]), np.array([[4.0, 4.0]])).tolist() == [2.0]


@pytest.mark.parametrize("options", [["--global-model", "onnx"], ["--onnx", "model.onnx"]])
def test_the_kind_and_the_file_go_together(log: Path, tmp_path: Path, options: list[str]) -> None:
    trained = train(log, tmp_path / "bundle", *options)
    assert trained.exit_code == 2
    assert "--onnx" in trained.stderr


def test_a_file_that_is_no_onnx_model_leaves_nothing(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch touched'\ntR.")
    trained = train(log, tmp_path / "bundle", "--global-model", "onnx", "--onnx", str(path))
    assert isinstance(trained.exception, OnnxModelError)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
@pytest.mark.parametrize("kind", ["trees", "onnx"])
def test_a_missing_extra_is_said_before_the_log_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, kind: str
) -> None:
    (tmp_path / "model.onnx").write_bytes(weighted())
    file = ["--onnx", str(tmp_path / "model.onnx")] if kind == "onnx" else []
    monkeypatch.setitem(sys.modules, library, None)
    trained = train(tmp_path / "no log", tmp_path / "bundle", "--global-model", kind, *file)
    assert isinstance(trained.exception, MissingExtraError)
    assert "stream-qa[onnx]" in str(trained.exception)
