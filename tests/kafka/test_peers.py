"""The benchmark beside others: what it compares does the same, to the last count and to six decimals."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
EVENTS = 600
#: Two applications an engagement: that many open, and as many of them as are answered teach both sides once.
RIGHT = {"labels": EVENTS, "scores": 400, "examples": 200, "member_steps": 200, "job_steps": 200}

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("broker"),  # skips where there can be none; the benchmark starts its own
]


class Found(NamedTuple):
    """What the benchmark has found of all sides."""

    rows: list[dict[str, Any]]
    said: str


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Run the benchmark, short: it ends well where no figure is missing of the sides that are not left out."""
    path = tmp_path_factory.mktemp("peers") / "results.json"
    options = ["--events", str(EVENTS), "--rounds", "1", "--keys", "zipf", "--rates", "--json", str(path)]
    command = [sys.executable, "-m", "peers", *options]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Found(json.loads(path.read_text())["rows"], done.stderr)


@pytest.mark.parametrize(
    "side",
    ["stream_qa", "stock_faust", "quix_exactly_once", "kafka_streams", "aiokafka_plain", "aiokafka_optimised"],
)
def test_a_side_gives_the_right_counts_and_coefficients(side: str, found: Found) -> None:
    rows = [row for row in found.rows if row["side"] == side]
    if not rows and "left out" in found.said:
        pytest.skip(found.said)
    learned, measured = rows
    assert learned["largest_difference"] < 1e-6
    assert measured["counts"] == RIGHT
