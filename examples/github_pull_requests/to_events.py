"""Turn a table of pull requests into an event log of applications and engagements.

A pull request is an application of its author (the member) to a project (the job); the maintainers merge it or close it
unmerged. The log is JSON Lines in the order of event time; its features are neither standardised nor do they hold an
intercept: that is the learner's business.
"""

import argparse
import csv
import gzip
import math
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import orjson

FEATURE_SCHEMA = "github-pull-requests-1"
LANGUAGES = ("ruby", "java", "scala")
TEXT_COLUMNS = ("member", "job", "lang")
NUMBER_COLUMNS = (
    "created_at",
    "closed_at",
    "merged",
    "num_commits",
    "files_added",
    "files_deleted",
    "files_modified",
    "src_files",
    "doc_files",
    "other_files",
    "src_churn",
    "test_churn",
    "sloc",
    "test_lines_per_kloc",
    "watchers",
    "team_size",
    "perc_external_contribs",
    "prev_pullreqs",
    "followers",
    "intra_branch",
)
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})

Numbers = dict[str, float]


class TableError(Exception):
    """The table cannot be used; the message is the sentence that says why."""


def size(value: float) -> float:
    """Return log(1 + value), and 0 for what is below 0: sizes and counts span orders of magnitude."""
    return math.log1p(max(value, 0.0))


def member_features(request: Numbers) -> list[float]:
    """Return the 14 features of the author and the request."""
    return [
        size(request["num_commits"]),
        size(request["files_added"]),
        size(request["files_deleted"]),
        size(request["files_modified"]),
        size(request["src_files"]),
        size(request["doc_files"]),
        size(request["other_files"]),
        size(request["src_churn"]),
        size(request["test_churn"]),
        float(request["test_churn"] > 0),
        size(request["prev_pullreqs"]),
        float(request["prev_pullreqs"] == 0),
        size(request["followers"]),
        request["intra_branch"],
    ]


def job_features(request: Numbers, language: str) -> list[float]:
    """Return the 11 features of the project as it was when the request was opened."""
    return [
        size(request["sloc"]),
        size(request["test_lines_per_kloc"]),
        size(request["watchers"]),
        size(request["team_size"]),
        request["perc_external_contribs"] / 100,
        *(float(language == known) for known in LANGUAGES),
        float(request["test_lines_per_kloc"] <= 0),
        float(request["team_size"] <= 1),
        size(request["watchers"]) - size(request["team_size"]),
    ]


def rows(table: TextIO) -> Iterator[tuple[dict[str, str], Numbers]]:
    """Yield the text and the number columns of each row, whatever their order; missing numbers are 0 but for times.

    Raises
    ------
    TableError
        Columns are missing, or a row says something that is no pull request.
    """
    reader = csv.reader(table)
    position = {name.strip(): index for index, name in enumerate(next(reader, []))}
    absent = [name for name in (*TEXT_COLUMNS, *NUMBER_COLUMNS) if name not in position]
    if absent:
        raise TableError(f"the table lacks the columns: {', '.join(absent)}")
    # A line that ends early lacks its last values; an empty line is no row.
    for number, cells in enumerate((line for line in reader if line), start=1):
        values = {name: cells[index].strip() if index < len(cells) else "" for name, index in position.items()}
        for name in ("member", "job", "created_at"):
            if values[name].lower() in MISSING:
                raise TableError(f"row {number} has no {name}")
        yield {name: values[name] for name in TEXT_COLUMNS}, _numbers(values, number)


def _numbers(values: dict[str, str], number: int) -> Numbers:
    numbers = {}
    for name in NUMBER_COLUMNS:
        text = values[name]
        if text.lower() in MISSING:
            # Never closed is not closed in 1970.
            numbers[name] = math.inf if name == "closed_at" else 0.0
            continue
        try:
            numbers[name] = float(text)
        except ValueError:
            raise TableError(f"row {number} has no number in {name}: {text!r}") from None
        if not math.isfinite(numbers[name]):
            raise TableError(f"row {number} has no finite number in {name}: {text!r}")
    return numbers


def events(table: TextIO, *, withhold_rejections: bool) -> tuple[list[bytes], Counter[str]]:
    """Return the lines of the log, in the order of event time, and how many there are of each kind.

    At equal time applications come before engagements, and rows in the order of the table.
    """
    lines: list[tuple[int, int, int, bytes]] = []
    counts: Counter[str] = Counter()
    for number, (texts, request) in enumerate(rows(table), start=1):
        application_id = f"pull-request-{number}"
        created_at = round(request["created_at"] * 1000)
        application = {
            "type": "application",
            "application_id": application_id,
            "member_id": texts["member"],
            "job_id": texts["job"],
            "applied_at": created_at,
            "feature_schema": FEATURE_SCHEMA,
            "member_features": member_features(request),
            "job_features": job_features(request, texts["lang"].lower()),
        }
        # The sum is a copy of its own size: what orjson returns holds on to a larger buffer, which half a million
        # lines cannot afford.
        lines.append((created_at, 0, number, orjson.dumps(application) + b"\n"))
        counts["applications"] += 1
        kind = "merged" if request["merged"] == 1 else "rejected"
        if math.isinf(request["closed_at"]):
            counts["never closed"] += 1
        elif kind == "rejected" and withhold_rejections:
            counts["rejected, withheld"] += 1
        else:
            closed_at = round(request["closed_at"] * 1000)
            engagement = {
                "type": "engagement",
                "application_id": application_id,
                "job_id": texts["job"],
                "kind": kind,
                "engaged_at": closed_at,
            }
            lines.append((closed_at, 1, number, orjson.dumps(engagement) + b"\n"))
            counts[kind] += 1
    lines.sort()
    return [line for *_, line in lines], counts


def _read(path: Path) -> TextIO:
    # The signature that spreadsheets put in front of UTF-8 is not part of the first column's name.
    opened: Callable[..., TextIO] = gzip.open if path.suffix == ".gz" else open
    return opened(path, "rt", encoding="utf-8-sig", newline="")


def _write(path: Path, lines: list[bytes]) -> None:
    with path.open("wb") as plain:
        if path.suffix != ".gz":
            plain.writelines(lines)
            return
        # Neither name nor time in the header: the same table gives the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=plain, compresslevel=6, mtime=0) as compressed:
            compressed.writelines(lines)


def main() -> int:
    """Convert; return the exit code: 0, or 1 with a sentence on stderr where the table cannot be used."""
    parser = argparse.ArgumentParser(description="Turn a table of pull requests into an event log.")
    parser.add_argument("table", type=Path, help="the table: CSV, gzip if it ends in .gz")
    parser.add_argument("log", type=Path, help="the event log to write: JSON Lines, gzip if it ends in .gz")
    parser.add_argument(
        "--withhold-rejections", action="store_true", help="leave the rejections out, so that silence must speak"
    )
    arguments = parser.parse_args()
    try:
        with _read(arguments.table) as table:
            lines, counts = events(table, withhold_rejections=arguments.withhold_rejections)
    except (TableError, OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        print(f"{arguments.table}: {error}", file=sys.stderr)
        return 1
    try:
        _write(arguments.log, lines)
    except OSError as error:
        print(f"{arguments.log} cannot be written: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{count:,} {what}" for what, count in counts.items()), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
