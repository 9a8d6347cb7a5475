"""The benchmark beside others: what it compares does the same, to the last count and to six decimals."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
EVENTS = 600
#: Two applications an engagement: that many open, and as many of them as are answered teach both sides once.
RIGHT = {"labels": EVENTS, "scores": 400, "examples": 200, "member_steps": 200, "job_steps": 200}


@pytest.mark.kafka
@pytest.mark.timeout(540)
@pytest.mark.usefixtures("broker")  # skips where there can be none; the benchmark starts its own
@pytest.mark.parametrize(
    "side",
    ["stream_qa", "stock_faust", "quix_exactly_once", "kafka_streams", "aiokafka_plain", "aiokafka_optimised"],
)
def test_a_side_gives_the_right_counts_and_coefficients(side: str, tmp_path: Path) -> None:
    learned, measured = _measure(side, tmp_path / "results.json")
    assert learned["largest_difference"] < 1e-6
    assert measured["counts"] == RIGHT


def _measure(side: str, path: Path) -> list[dict[str, Any]]:
    """Return the rows that the benchmark writes of a side."""
    options = [
        "--sides",
        side,
        "--events",
        str(EVENTS),
        "--rounds",
        "1",
        "--keys",
        "zipf",
        "--rates",
        "--json",
        str(path),
    ]
    command = [sys.executable, "-m", "peers", *options]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    if "left out" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return rows
