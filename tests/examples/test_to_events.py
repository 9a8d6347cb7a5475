import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import pytest

from stream_qa.events import Application, Decoder, Engagement
from stream_qa.labels.policy import LabelPolicy

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "github_pull_requests" / "to_events.py"
SHARED = ROOT.parent / "shared" / "data" / "github_pull_requests" / "pull_requests.csv.gz"

# The second row comes before the first in time, and is closed when the first is opened; the third was never closed.
TABLE = """\
member,job,created_at,closed_at,merged,lang,num_commits,files_added,files_deleted,files_modified,src_files,doc_files,\
other_files,src_churn,test_churn,sloc,test_lines_per_kloc,watchers,team_size,perc_external_contribs,prev_pullreqs,\
followers,intra_branch
7,70,2000,2500,0,scala,1,2,3,4,5,6,7,8,9,99,49.5,19,4,25,11,12,1
8,80,1000,2000,1,python,0,0,0,0,0,0,0,0,0,0,-1,0,1,0,0,0,0
7,80,3000,,0,java,,NA,0,1,0,0,0,0,0,1,,,,,,3,
"""
HEADER, *ROWS = csv.reader(TABLE.splitlines())
MEMBER_FEATURES = {
    "pull-request-1": [
        *(log(2), log(3), log(4), log(5), log(6), log(7), log(8), log(9), log(10)),
        *(1.0, log(12), 0.0, log(13), 1.0),
    ],
    "pull-request-2": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
    "pull-request-3": [0.0, 0.0, 0.0, log(2), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, log(4), 0.0],
}
JOB_FEATURES = {
    # log 20 - log 5 = log 4
    "pull-request-1": [log(100), log(50.5), log(20), log(5), 0.25, 0.0, 0.0, 1.0, 0.0, 0.0, log(4)],
    "pull-request-2": [0.0, 0.0, 0.0, log(2), 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, -log(2)],
    "pull-request-3": [log(2), 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0],
}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _convert(directory: Path, table: bytes, *options: str) -> list[Any]:
    (directory / "table.csv.gz").write_bytes(gzip.compress(table))
    result = _run(*options, directory / "table.csv.gz", directory / "log.jsonl.gz")
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in gzip.decompress((directory / "log.jsonl.gz").read_bytes()).splitlines()]


def test_events_in_the_order_of_their_time(tmp_path: Path) -> None:
    events = _convert(tmp_path, _table(HEADER, ROWS))
    assert [
        (event["type"], event["application_id"], event.get("applied_at", event.get("engaged_at"))) for event in events
    ] == [
        ("application", "pull-request-2", 1_000_000),
        ("application", "pull-request-1", 2_000_000),
        ("engagement", "pull-request-2", 2_000_000),
        ("engagement", "pull-request-1", 2_500_000),
        ("application", "pull-request-3", 3_000_000),
    ]
    assert events[2] == {
        "type": "engagement",
        "application_id": "pull-request-2",
        "job_id": "80",
        "kind": "merged",
        "engaged_at": 2_000_000,
    }
    assert events[3]["kind"] == "rejected"
    assert set(events[0]) == {
        *("type", "application_id", "member_id", "job_id", "applied_at", "feature_schema"),
        *("member_features", "job_features"),
    }
    assert (events[0]["member_id"], events[0]["job_id"]) == ("8", "80")
    assert events[0]["feature_schema"] == "github-pull-requests-1"


def test_features(tmp_path: Path) -> None:
    applications = [event for event in _convert(tmp_path, _table(HEADER, ROWS)) if event["type"] == "application"]
    assert len(applications) == 3
    for application in applications:
        number = application["application_id"]
        assert application["member_features"] == pytest.approx(MEMBER_FEATURES[number], rel=1e-12, abs=1e-15)
        assert application["job_features"] == pytest.approx(JOB_FEATURES[number], rel=1e-12, abs=1e-15)


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    plain = _convert(tmp_path, _table(HEADER, ROWS))
    shuffled = [["of no use", *HEADER[::-1]], *(["x", *row[::-1]] for row in ROWS)]
    assert _convert(tmp_path, b"\xef\xbb\xbf" + _table(shuffled[0], shuffled[1:])) == plain
    renamed = _table([f" {name} " for name in HEADER], ROWS)
    assert _convert(tmp_path, renamed) == plain


def test_withheld_rejections_leave_only_silence(tmp_path: Path) -> None:
    everything = _convert(tmp_path, _table(HEADER, ROWS))
    silent = _convert(tmp_path, _table(HEADER, ROWS), "--withhold-rejections")
    assert silent == [event for event in everything if event.get("kind") != "rejected"]
    assert len(silent) == len(everything) - 1


def test_the_counts_are_on_stderr_and_the_bytes_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(_table(HEADER, ROWS))
    for name in ("first.gz", "again.gz", "plain.jsonl"):
        result = _run(tmp_path / "table.csv", tmp_path / name)
        assert result.returncode == 0
        assert result.stdout == ""
        assert result.stderr == "3 applications, 1 rejected, 1 merged, 1 never closed\n"
    assert (tmp_path / "first.gz").read_bytes() == (tmp_path / "again.gz").read_bytes()
    # RFC 1952: no flags, so no name, and the modification time 0.
    assert (tmp_path / "first.gz").read_bytes()[3:8] == bytes(5)
    assert gzip.decompress((tmp_path / "first.gz").read_bytes()) == (tmp_path / "plain.jsonl").read_bytes()


def _with(column: str, value: str) -> bytes:
    row = list(ROWS[0])
    row[HEADER.index(column)] = value
    return _table(HEADER, [ROWS[1], row])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (_table(HEADER[:4] + HEADER[6:], ROWS), "the table lacks the columns: lang, merged"),
        (b"", "the table lacks the columns: member, job, "),
        (_with("created_at", ""), "row 2 has no created_at"),
        (_with("member", ""), "row 2 has no member"),
        (_with("sloc", "many"), "row 2 has no number in sloc: 'many'"),
        (_with("sloc", "inf"), "row 2 has no finite number in sloc: 'inf'"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path: Path, table: bytes, sentence: str) -> None:
    (tmp_path / "table.csv").write_bytes(table)
    result = _run(tmp_path / "table.csv", tmp_path / "log.jsonl")
    assert result.returncode == 1
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "log.jsonl").exists()


def test_a_file_that_is_not_there_or_not_whole_is_one_sentence(tmp_path: Path) -> None:
    whole = gzip.compress(_table(HEADER, ROWS * 100))
    (tmp_path / "half.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.csv.gz").write_bytes(whole[:12] + b"\xff" * 20 + whole[32:])
    (tmp_path / "plain.csv").write_bytes(_table(HEADER, ROWS))
    for arguments in (["absent.csv", "log"], ["half.csv.gz", "log"], ["damaged.csv.gz", "log"], ["plain.csv", "a/b"]):
        result = _run(*(tmp_path / argument for argument in arguments))
        assert result.returncode == 1, arguments
        assert result.stderr.count("\n") == 1, result.stderr


@pytest.mark.shared_data
def test_the_whole_data_set_converts(tmp_path: Path) -> None:
    if not SHARED.exists():
        pytest.skip("the pull-request data set is not beside the checkout")
    result = _run(SHARED, tmp_path / "log.jsonl")
    assert result.returncode == 0, result.stderr
    with gzip.open(SHARED, "rt", newline="") as table:
        merged = [row["merged"] for row in csv.DictReader(table)].count("1")
    applications, engagements, policy = Decoder(Application), Decoder(Engagement), LabelPolicy()
    counts = dict.fromkeys(("application", "merged", "rejected"), 0)
    previous = (0, False)
    with (tmp_path / "log.jsonl").open("rb") as lines:
        for number, line in enumerate(lines):
            event = json.loads(line)
            moment = (event.get("applied_at") or event["engaged_at"], event["type"] == "engagement")
            assert moment >= previous
            previous = moment
            counts[event.get("kind", "application")] += 1
            if number % 80:
                continue
            if event["type"] == "application":
                [application] = applications.decode([line])
                assert isinstance(application, Application)
                assert (len(application.member_features), len(application.job_features)) == (14, 11)
                assert application.global_log_odds is None
            else:
                [engagement] = engagements.decode([line])
                assert isinstance(engagement, Engagement)
                assert policy.value(engagement.kind) == (engagement.kind == "merged")
    assert counts == {"application": 212_047, "merged": merged, "rejected": 212_047 - merged}
