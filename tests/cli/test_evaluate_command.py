"""``stream-qa evaluate``: a log and a bundle in, how good the scores were out."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stream_qa.cli import application
from stream_qa.errors import BundleError, EvaluationError, MissingExtraError

FIELDS = ["name", "auc", "auc_low", "auc_high", "log_loss", "ece", "ndcg_at_10", "pair_auc", "applications"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.jsonl.gz"
    market = ["--members", "60", "--jobs", "30", "--days", "70", "--applications", "900", "--features", "2"]
    assert CliRunner().invoke(application, ["simulate", str(path), *market]).exit_code == 0
    trained = ["train", str(path), "--until", "2026-02-15", "--out", str(bundle_of(path))]
    assert CliRunner().invoke(application, trained).exit_code == 0
    return path


def bundle_of(log: Path) -> Path:
    return log.parent / "bundle"


def evaluate(log: Path, *more: str, bundle: Path | None = None, since: str = "2026-02-15") -> Result:
    range_of_time = ["--from", since, "--until", "2026-02-25"]
    chosen = ["--bundle", str(bundle or bundle_of(log)), *range_of_time]
    return CliRunner().invoke(application, ["evaluate", str(log), *chosen, *more])


def test_as_json_it_is_an_object_a_model(log: Path) -> None:
    found = json.loads(evaluate(log, "--json", "--models", "global,personalised").stdout)
    assert [one["name"] for one in found] == ["global", "personalised"]
    for one in found:
        assert list(one) == FIELDS
        assert 0 < one["auc_low"] < one["auc"] < one["auc_high"] < 1
    assert found[0]["applications"] == found[1]["applications"] > 50
    assert found[0]["auc"] != found[1]["auc"]


def test_as_a_table_it_has_a_row_a_model(log: Path) -> None:
    shown = evaluate(log, "--models", "personalised,global")
    for said in ("personalised", "global", "pair AUC", "applications"):
        assert said in shown.stdout
    assert "replaying" in shown.stderr


def test_the_report_has_the_models_and_the_gain_over_the_trees(log: Path, tmp_path: Path) -> None:
    shown = evaluate(log, "--models", "personalised,trees-once", "--report", str(tmp_path / "report"))
    page = (tmp_path / "report" / "index.html").read_text()
    plots = ("AUC by week", "Staleness", "Calibration", "Label delay", "Publish interval", "Who gains")
    for said in ("personalised", "trees-once", *plots):
        assert said in page
    gain = "The AUC of personalised is "
    assert gain in shown.stdout
    assert gain in page


def test_asked_for_staleness_it_is_an_object_or_a_row_an_age(log: Path) -> None:
    [age] = json.loads(evaluate(log, "--staleness", "--json").stdout)
    assert (age["from_day"], age["until_day"]) == (0, 28)
    models = "personalised,members-frozen,jobs-frozen,frozen,global"
    rest = json.loads(evaluate(log, "--json", "--models", models).stdout)[1:]
    assert [age[f"{what}_frozen"] for what in ("members", "jobs", "both")] == [one["auc"] for one in rest[:3]]
    assert age["global_alone"] == rest[3]["auc"]
    shown = evaluate(log, "--staleness").stdout
    for said in ("jobs frozen", "0 to 27", f"{age['live']:.4f}", str(rest[0]["applications"])):
        assert said in shown


def test_the_target_may_be_the_outcome(log: Path) -> None:
    policy = log.parent / "policy.yaml"
    policy.write_text("window_days: 1\nsilence: {rule: none}\n")
    final, outcome = (
        json.loads(evaluate(log, "--json", "--models", "global", "--policy", str(policy), "--target", target).stdout)
        for target in ("final", "outcome")
    )
    # What is answered after a day is positive in the end only.
    assert final[0]["log_loss"] != outcome[0]["log_loss"]
    assert final[0]["applications"] == outcome[0]["applications"]


def test_a_bundle_that_has_seen_what_would_be_scored_is_refused(log: Path) -> None:
    assert isinstance(evaluate(log, since="2026-02-14").exception, EvaluationError)


def test_a_range_without_applications_is_an_error(log: Path) -> None:
    assert evaluate(log, since="2026-02-25").exit_code == 2


def test_what_is_no_bundle_or_no_model_is_refused(log: Path, tmp_path: Path) -> None:
    assert isinstance(evaluate(log, bundle=tmp_path).exception, BundleError)
    unknown = evaluate(log, "--models", "personalised,best")
    assert unknown.exit_code == 2
    assert "best" in unknown.stderr


def test_without_the_extra_it_says_so_before_anything_is_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_qa.evaluation.trees.find_spec", lambda _name: None)
    monkeypatch.setattr("stream_qa.evaluation.report.find_spec", lambda _name: None)
    missing = log.parent / "missing"
    for asked in (["--models", "trees-once"], ["--models", "global", "--report", str(missing)]):
        refused = evaluate(missing, *asked, bundle=bundle_of(log))
        assert isinstance(refused.exception, MissingExtraError)
        assert "stream-qa[evaluation]" in str(refused.exception)
    assert not missing.exists()
