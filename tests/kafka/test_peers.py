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

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


class Found(NamedTuple):
    """What the benchmark has found of all sides."""

    rows: list[dict[str, Any]]
    said: str

    def of(self, side: str) -> dict[str, dict[str, Any]]:
        """Return what is of one side, by kind."""
        return {row["kind"]: row for row in self.rows if row["side"] == side}


@pytest.fixture(scope="module")
def found(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Run the benchmark, short; it starts brokers of its own, and is skipped where there can be none."""
    del broker
    path = tmp_path_factory.mktemp("peers") / "results.json"
    options = ["--events", str(EVENTS), "--rounds", "1", "--keys", "zipf", "--rates", "--json", str(path)]
    command = [sys.executable, "-m", "peers", *options]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    return Found(json.loads(path.read_text())["rows"], done.stderr)


@pytest.mark.parametrize(
    ("side", "title"),
    [
        ("stream_qa", "stream_qa, exactly once"),
        ("stock_faust", "Faust as it comes, at least once"),
        ("quix_exactly_once", "Quix Streams, exactly once"),
        ("kafka_streams", "Kafka Streams, exactly_once_v2"),
        ("aiokafka_plain", "by hand on aiokafka, an event at a time, no guarantees"),
        ("aiokafka_optimised", "by hand on aiokafka, optimised, no guarantees"),
    ],
)
def test_a_side_gives_the_right_counts_and_coefficients(side: str, title: str, found: Found) -> None:
    if f"left out: {title}" in found.said:
        pytest.skip(found.said)
    rows = found.of(side)
    assert rows.keys() == {"agreement", "throughput"}, found.said
    assert rows["agreement"]["largest_difference"] < 1e-6
    assert rows["throughput"]["counts"] == RIGHT
