"""The tables of docs/benchmarks.md, from results."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from peers.results import Row
from peers.sides import SIDES

BEGIN, END = "<!-- peers: written by make bench-table -->\n", "<!-- end of peers -->\n"
OURS = "stream_qa"


def write_tables(page: Path, about: Row, rows: Sequence[Row]) -> None:
    """Put the tables between the marks of the page, in place of what is there.

    Raises
    ------
    ValueError
        The page has no marks.
    """
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page} has no place for the tables")
    page.write_text(f"{before}{BEGIN}\n" + "\n".join(_lines(about, rows)) + f"\n\n{END}{after}")


def _lines(about: Row, rows: Sequence[Row]) -> Iterator[str]:
    versions = ", ".join(
        f"{name} {about[name]}" for name in about if name not in {"cores", "processor"} and about[name]
    )
    yield f"{about['cores']} cores, {about['processor']}; {versions}; {max(row['ended_at'] for row in rows)[:10]}."
    for keys in dict.fromkeys(row["keys"] for row in rows if row["kind"] == "throughput"):
        yield from _throughput(keys, [row for row in rows if row["kind"] == "throughput" and row["keys"] == keys])
    yield from _latency([row for row in rows if row["kind"] == "latency"])


def _throughput(keys: str, rows: Sequence[Row]) -> Iterator[str]:
    ours = {row["round"]: _rate(row) for row in rows if row["side"] == OURS}
    yield ""
    yield f"Keys: {keys}. Medians (lowest to highest) of the rounds; ratios: events per CPU second within a round."
    yield ""
    yield "| | events | rounds | events per CPU second | events per second | ours over it | memory |"
    yield "|---|---|---|---|---|---|---|"
    for side in SIDES:
        of_side = [row for row in rows if row["side"] == side.name]
        if not of_side:
            continue
        ratios = [ours[row["round"]] / _rate(row) for row in of_side if row["round"] in ours]
        cells = (
            side.title,
            f"{of_side[0]['events']:,}",
            str(len(of_side)),
            _spread(map(_rate, of_side), ",.0f"),
            _spread((row["events"] / row["wall_seconds"] for row in of_side), ",.0f"),
            "" if side.name == OURS or not ratios else _spread(ratios, ".2f"),
            f"{max(row['resident_megabytes'] for row in of_side):,.0f} MB",
        )
        yield "| " + " | ".join(cells) + " |"


def _latency(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield "From an engagement to its deltas, ms: median, 99th percentile, longest. One run of 15 s each."
    yield ""
    heads = (
        "partitions",
        "events per second",
        "member's delta",
        "job's delta",
        "CPU seconds per second",
        "probes arrived",
    )
    yield f"| | {' | '.join(heads)} |"
    yield "|---|---|---|---|---|---|---|"
    for side in SIDES:
        of_side = [row for row in rows if row["side"] == side.name]
        for row in sorted(of_side, key=lambda row: (row["partitions"], row["rate"])):
            figures = (", ".join(f"{value:,.0f}" for value in row[of]) or "none" for of in ("member", "job"))
            pace = (str(row["partitions"]), f"{row['rate']:,}")
            cells = (side.title, *pace, *figures, f"{row['cpu_share']:.2f}", f"{row['arrived']} of {row['probes']}")
            yield "| " + " | ".join(cells) + " |"


def _rate(row: Row) -> float:
    return float(row["events"] / row["cpu_seconds"])


def _spread(values: Iterable[float], form: str) -> str:
    ordered = sorted(values)
    median = format(statistics.median(ordered), form)
    return median if len(ordered) == 1 else f"{median} ({ordered[0]:{form}} to {ordered[-1]:{form}})"
