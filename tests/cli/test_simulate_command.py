import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ground import PROGRAM
from typer.testing import CliRunner, Result

from stream_qa.cli import application
from stream_qa.events import Application, Decoder, Engagement
from stream_qa.labels.policy import LabelPolicy

SMALL = ["--members", "50", "--jobs", "20", "--days", "30", "--applications", "400"]


def _simulate(*arguments: object) -> Result:
    return CliRunner().invoke(application, ["simulate", *map(str, arguments)])


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "again"):
        assert _simulate(tmp_path / f"{name}.jsonl.gz", "--truth", tmp_path / f"{name}.truth.gz", *SMALL).exit_code == 0
    for suffix in ("jsonl.gz", "truth.gz"):
        assert (tmp_path / f"first.{suffix}").read_bytes() == (tmp_path / f"again.{suffix}").read_bytes()
    assert _simulate(tmp_path / "other.jsonl.gz", "--seed", 1, *SMALL).exit_code == 0
    assert (tmp_path / "first.jsonl.gz").read_bytes() != (tmp_path / "other.jsonl.gz").read_bytes()


def test_gzip_follows_from_the_suffix_and_a_dash_is_stdout(tmp_path: Path) -> None:
    assert _simulate(tmp_path / "log.jsonl", *SMALL).exit_code == 0
    assert _simulate(tmp_path / "log.jsonl.gz", *SMALL).exit_code == 0
    plain = (tmp_path / "log.jsonl").read_bytes()
    # RFC 1952: no flags, so no name, and the modification time 0, or the bytes would change with either.
    assert (tmp_path / "log.jsonl.gz").read_bytes()[3:8] == bytes(5)
    assert plain.endswith(b"}\n")
    assert gzip.decompress((tmp_path / "log.jsonl.gz").read_bytes()) == plain
    assert _simulate("-", *SMALL).stdout_bytes == plain


def test_every_line_is_a_message_of_its_topic(tmp_path: Path) -> None:
    assert _simulate(tmp_path / "log.jsonl", *SMALL).exit_code == 0
    decoders = {"application": Decoder(Application), "engagement": Decoder(Engagement)}
    for line in (tmp_path / "log.jsonl").read_bytes().splitlines():
        [event] = decoders[json.loads(line)["type"]].decode([line])  # type: ignore[attr-defined]
        assert isinstance(event, Application | Engagement)


def test_the_truth_matches_the_events(tmp_path: Path) -> None:
    log, truth = tmp_path / "log.jsonl", tmp_path / "truth.jsonl"
    assert _simulate(log, "--truth", truth, *SMALL).exit_code == 0
    policy = LabelPolicy()
    applied_at: dict[str, tuple[int, float]] = {}
    engaged_at: dict[tuple[str, int | None], int] = {}
    for event in _lines(log):
        if event["type"] == "application":
            applied_at[event["application_id"]] = (event["applied_at"], event["global_log_odds"])
        else:
            engaged_at.setdefault((event["application_id"], policy.value(event["kind"])), event["engaged_at"])
    rows = _lines(truth)
    assert [row["application_id"] for row in rows] == list(applied_at)
    for row in rows:
        number = row["application_id"]
        assert (row["applied_at"], row["global_log_odds"]) == applied_at[number]
        assert row["positive_at"] == engaged_at.get((number, 1))
        assert row["rejected_at"] == engaged_at.get((number, 0))
        assert row["outcome"] == (row["positive_at"] is not None)
        assert 0 < row["probability"] < 1
        assert isinstance(row["member_log_odds"], float)
        assert isinstance(row["job_log_odds"], float)


def test_json_prints_what_was_written(tmp_path: Path) -> None:
    result = _simulate(tmp_path / "log.jsonl", "--json", *SMALL)
    counts = json.loads(result.stdout)
    events = _lines(tmp_path / "log.jsonl")
    assert counts["applications"] == sum(event["type"] == "application" for event in events) > 350
    kinds = [event["kind"] for event in events if event["type"] == "engagement"]
    assert counts["engagements"] == {kind: kinds.count(kind) for kind in counts["engagements"]}
    assert counts["positives"] == len({e["application_id"] for e in events if e.get("kind") not in {None, "rejected"}})


def test_members_and_jobs_follow_the_applications_unless_they_are_given(tmp_path: Path) -> None:
    assert _simulate(tmp_path / "log.jsonl", "--applications", 3_170, "--features", 2).exit_code == 0
    events = _lines(tmp_path / "log.jsonl")
    assert 200 <= len({event["member_id"] for event in events if "member_id" in event}) <= 240
    assert 80 <= len({event["job_id"] for event in events}) <= 100
    assert len(events[0]["member_features"]) == len(events[0]["job_features"]) == 2


def test_the_start_is_a_day_in_utc(tmp_path: Path) -> None:
    assert _simulate(tmp_path / "log.jsonl", "--start", "2012-02-29", *SMALL).exit_code == 0
    # date -u -d 2012-02-29 +%s
    first_midnight = 1_330_473_600_000
    applied = [event["applied_at"] for event in _lines(tmp_path / "log.jsonl") if "applied_at" in event]
    assert first_midnight <= min(applied) < first_midnight + 2 * 86_400_000
    assert max(applied) < first_midnight + 30 * 86_400_000


@pytest.mark.parametrize("arguments", [["-", "--json"], ["-", "--truth", "-"], ["same", "--truth", "same"]])
def test_two_things_do_not_go_to_one_place(arguments: list[str]) -> None:
    assert _simulate(*arguments, *SMALL).exit_code == 2


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    command = [*PROGRAM, "simulate", str(tmp_path / "absent" / "log.jsonl"), *SMALL]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "500"})
    assert result.returncode == 1
    assert result.stdout == ""
    assert "LogError: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    command = f'"{sys.executable}" -m stream_qa simulate - --applications 5000 | head -n 1'
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - a pipe
    assert json.loads(result.stdout)["type"] == "application"
    assert "Traceback" not in result.stderr
    assert "Error" not in result.stderr
