"""The report: one HTML page that needs nothing beside it. Plots are SVG in the page."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from stream_qa.errors import EvaluationError, MissingExtraError
from stream_qa.evaluation.evaluate import Quality
from stream_qa.evaluation.figures import Line
from stream_qa.evaluation.staleness import Staleness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:right}"
    "td:first-child,th:first-child{text-align:left}tr+tr{border-top:1px solid #ddd}"
    "svg{max-width:100%;height:auto}code{background:#f3f3f3}"
)
_MOST_MARKERS = 60


@dataclass(frozen=True)
class Plot:
    """One plot, and what it shows in words."""

    title: str
    text: str
    x: str
    y: str
    lines: Sequence[Line]
    diagonal: bool = False
    """Whether there is a line for what would be perfect."""
    classes: Sequence[str] = ()
    """Names of x = 0, 1, 2 ... where x is no number."""
    table: Sequence[Sequence[str]] = ()
    """Rows of a table below it, the first of which names the columns."""


def page(title: str, facts: Sequence[str], qualities: Sequence[Quality], plots: Sequence[Plot]) -> str:
    """Return the page.

    Parameters
    ----------
    title
        Of the page.
    facts
        Sentences above the table.
    qualities
        The table.
    plots
        In their order.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    check_plots()
    sections = "".join(
        f"<h2>{html.escape(plot.title)}</h2><p>{html.escape(plot.text)}</p>{_drawn(plot, number)}"
        f"{_rows(plot.table) if plot.table else ''}"
        for number, plot in enumerate(plots)
    )
    paragraphs = "".join(f"<p>{html.escape(fact)}</p>" for fact in facts)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"/><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{paragraphs}{_table(qualities)}{sections}"
        "</body></html>\n"
    )


def check_plots() -> None:
    """Check that plots can be drawn.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("the report needs matplotlib: pip install 'stream-qa[evaluation]'")


def write_page(directory: Path, content: str) -> Path:
    """Write the page into a directory, which is made where it does not exist; return its path.

    Raises
    ------
    EvaluationError
        It cannot be written.
    """
    path = directory / "index.html"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"the report {path} cannot be written: {error}") from error
    return path


def _table(qualities: Sequence[Quality]) -> str:
    rows = [("model", "AUC", "95%", "log-loss", "ECE", "NDCG@10", "pair AUC", "applications")]
    for one in qualities:
        interval = "" if one.auc_low is None else f"{one.auc_low:.4f} to {one.auc_high:.4f}"
        loss, error, gain, pairs = map(figure, (one.log_loss, one.ece, one.ndcg_at_10, one.pair_auc))
        rows.append((one.name, figure(one.auc), interval, loss, error, gain, pairs, str(one.applications)))
    return _rows(rows)


def _rows(rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first row names the columns."""
    cells = [
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        for tag, row in zip(["th", *["td"] * (len(rows) - 1)], rows, strict=True)
    ]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def staleness_table(ages: Sequence[Staleness]) -> list[list[str]]:
    """Return the rows of a table of AUCs by age; what is frozen by its difference to what is live."""
    rows = [["days", "applications", "live", "members frozen", "jobs frozen", "both frozen", "global alone"]]
    for age in ages:
        frozen = (age.members_frozen, age.jobs_frozen, age.both_frozen, age.global_alone)
        differences = ["" if auc is None or age.live is None else f"{auc - age.live:+.4f}" for auc in frozen]
        rows.append([f"{age.from_day} to {age.until_day - 1}", str(age.applications), figure(age.live), *differences])
    return rows


def figure(value: float | None) -> str:
    """Return a figure as text; nothing where there is none."""
    return "" if value is None else f"{value:.4f}"


def _drawn(plot: Plot, number: int) -> str:
    """Return a plot as an ``svg`` element; the same plot gives the same text."""
    from matplotlib import rc_context  # noqa: PLC0415 # an extra: not everybody has it
    from matplotlib.figure import Figure  # noqa: PLC0415

    # Text stays text; names in the page do not collide.
    with rc_context({"svg.hashsalt": f"plot-{number}", "svg.fonttype": "none"}):
        drawing = Figure(figsize=(8, 4.2), layout="constrained")
        _draw(drawing.subplots(), plot)
        file = StringIO()
        drawing.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _draw(axes: "Axes", plot: Plot) -> None:
    if plot.diagonal:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfect")
    for line in plot.lines:
        axes.plot(line.x, line.y, marker="o" if len(line.x) <= _MOST_MARKERS else "", markersize=3, label=line.name)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    if plot.classes:
        axes.set_xticks(range(len(plot.classes)), plot.classes)
