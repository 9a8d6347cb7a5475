"""The benchmark beside others: what it compares does the same, to the last count and to six decimals."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ALWAYS = ["stream_qa", "stock_faust", "aiokafka_plain", "aiokafka_optimised"]
EVENTS = 600


@pytest.mark.kafka
@pytest.mark.timeout(540)
@pytest.mark.usefixtures("broker")  # skips where there can be none; the benchmark starts its own
def test_all_sides_give_the_same_counts_and_coefficients(tmp_path: Path) -> None:
    sides = [*ALWAYS]
    if importlib.util.find_spec("quixstreams") is not None:
        sides.append("quix_exactly_once")
    results = _measure(tmp_path / "results.json", sides)
    measured = [row for row in results if row["kind"] == "throughput"]
    assert sorted(row["side"] for row in measured) == sorted(sides)
    # Two applications an engagement: that many open, and as many of them as are answered teach both sides once.
    right = {"labels": EVENTS, "scores": 400, "examples": 200, "member_steps": 200, "job_steps": 200}
    assert all(row["counts"] == right for row in measured)
    learned = [row for row in results if row["kind"] == "agreement"]
    assert sorted(row["side"] for row in learned) == sorted(sides)
    assert all(row["largest_difference"] < 1e-6 for row in learned)


def _measure(path: Path, sides: list[str]) -> list[dict[str, Any]]:
    options = ["--events", str(EVENTS), "--rounds", "1", "--keys", "zipf", "--json", str(path)]
    command = [sys.executable, "-m", "peers", *options, "--sides", *sides]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return rows
