"""What differs between two bundles."""

from pathlib import Path

import pytest
from bundles import retrained
from evaluation_ground import EvaluationGround
from rich.console import Console

from stream_qa.bundle import difference
from stream_qa.cli.bundle_difference import show_difference


def test_a_bundle_does_not_differ_from_itself(evaluation_ground: EvaluationGround) -> None:
    bundle = evaluation_ground.bundle
    found = difference(bundle, bundle)
    assert found["global"]["same"]
    assert found["scales"]["same"]
    assert found["feature_schema"]["same"]
    assert (found["policy"], found["hyper_parameters"]) == ({}, {})
    for pair in (found["versions"], *found["training"].values(), *found["priors"].values(), found["held_out"]):
        assert pair[0] == pair[1]


def test_what_a_later_training_has_otherwise_is_in_pairs(evaluation_ground: EvaluationGround, tmp_path: Path) -> None:
    bundle = evaluation_ground.bundle
    later = retrained(bundle, tmp_path / "later", precision=2.0, bound=3.0)
    found = difference(bundle, later)
    assert found["versions"] == [bundle.version, later.version]
    assert found["training"]["until"][1] == found["training"]["until"][0] + 1
    assert not found["scales"]["same"]
    before, after = found["priors"]["member"]
    assert after == pytest.approx([2.0 * precision for precision in before])
    console = Console(record=True, width=200)
    show_difference(console, found)
    shown = console.export_text()
    for said in (bundle.version, later.version, "others: a group", "prior precisions of members", "held-out log-loss"):
        assert said in shown
