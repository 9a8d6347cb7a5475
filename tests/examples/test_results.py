"""The page of results, one case of it from a small drawn table."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from loaded_program import load
from test_to_events import HEADER

from stream_qa.evaluation.models import ModelName
from stream_qa.labels import load_policy
from stream_qa.labels.policy import SilenceRule

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "github_pull_requests" / "results.py"
FIRST, DAY = 1_341_100_800, 86_400  # 2012-07-01


def write_table(path: Path) -> None:
    """Write requests of July 2012 to January 2013, which are closed within 40 days."""
    random = np.random.default_rng(1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for created_at in sorted(random.integers(FIRST, FIRST + 200 * DAY, 700).tolist()):
            closed_at = created_at + int(random.exponential(4 * DAY)) % (40 * DAY)
            job = int(random.integers(10))
            merged = int(random.random() < 0.4 + 0.05 * job)
            features = random.integers(0, 20, len(HEADER) - 6).tolist()
            writer.writerow([int(random.integers(40)), job, created_at, closed_at, merged, "ruby", *features])


def test_a_case_runs_and_its_figures_stand_under_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(PROGRAM)
    [case] = [case for case in module.CASES if case.policy == "curve"]
    slower = case._replace(settings={"STREAM_QA_LEARNING_RATE": "0.1"})
    monkeypatch.setattr(module, "CASES", [case, slower])
    monkeypatch.setattr(sys, "argv", ["results", str(tmp_path / "table.csv"), str(tmp_path / "results.md")])
    write_table(tmp_path / "table.csv")
    module.main()
    page = (tmp_path / "results.md").read_text()
    assert re.search(r"^    stream-qa evaluate silent.jsonl.gz --bundle silent-bundle ", page, re.MULTILINE)
    assert "examples/github_pull_requests/policies/curve.yaml" in page
    assert re.search(r"^    STREAM_QA_LEARNING_RATE=0.1 stream-qa evaluate ", page, re.MULTILINE)
    for model in case.options[-1].split(","):
        rows = re.findall(rf"^\| {model} \| (0\.\d{{4}}) \| (0\.\d{{4}}) to (0\.\d{{4}}) \|", page, re.MULTILINE)
        assert all(low < auc < high for auc, low, high in rows)
        assert len(set(rows)) == (2 if model == "personalised" else 1)
        assert len(rows) == 2
    assert str(tmp_path) not in page
    assert str(ROOT) not in page


def test_every_case_has_models_and_a_policy_that_exist() -> None:
    silences = set()
    for case in load(PROGRAM).CASES:
        policy = load_policy(PROGRAM.parent / "policies" / f"{case.policy}.yaml")
        silences.add(policy.silence.rule)
        named = case.options[case.options.index("--models") + 1] if "--models" in case.options else "personalised"
        assert set(named.split(",")) <= set(ModelName)
    assert silences == set(SilenceRule)


def test_ages_are_a_table_of_differences() -> None:
    age = {
        "from_day": 28,
        "until_day": 56,
        "applications": 12,
        "live": 0.8,
        "members_frozen": 0.79,
        "jobs_frozen": 0.7812,
        "both_frozen": 0.75,
        "global_alone": 0.7,
    }
    assert (
        load(PROGRAM)._ages([age])[-1] == "| 28 to 55 | 12 | 0.8000 | -0.0100 | -0.0188 | -0.0500 | -0.1000 |"
    )  # a script
