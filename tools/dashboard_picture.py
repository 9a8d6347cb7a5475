"""Draw the dashboard's panels from what a running Prometheus answers, without Grafana: by title, place and legend.

python tools/dashboard_picture.py http://127.0.0.1:9090 docs/images/dashboard.png [--minutes 10]
"""

import argparse
import io
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from PIL import Image

DASHBOARD = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboard.json"
POINTS = 120
COLOURS = 64
RATE_INTERVAL = "1m"
#: Inches of a column and of a row of Grafana's grid.
COLUMN, ROW = 0.62, 0.34
UNITS = {"s": "s", "bytes": "B"}
FEW = 8
"""A legend of more lines would cover the panel."""


def ask(prometheus: str, path: str, **parameters: str) -> list[dict[str, Any]]:
    """Return the series of an answer."""
    answer = httpx.get(f"{prometheus}{path}", params=parameters).raise_for_status()
    series: list[dict[str, Any]] = answer.json()["data"]["result"]
    return series


def legend(text: str, labels: dict[str, str]) -> str:
    """Return what Grafana would make of a legend."""
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), text)


def moment_of(seconds: float) -> float:
    """Return a moment as an axis counts, by its seconds since the epoch."""
    return float(date2num(datetime.fromtimestamp(seconds, UTC)))  # type: ignore[no-untyped-call]


def draw_stat(axes: Axes, prometheus: str, panel: dict[str, Any]) -> None:
    """Draw the newest numbers."""
    axes.axis("off")
    shown = []
    for target in panel["targets"]:
        for series in ask(prometheus, "/api/v1/query", query=target["expr"]):
            name = legend(target.get("legendFormat", ""), series["metric"])
            shown.append(f"{float(series['value'][1]):,.0f} {name}".strip())
    axes.text(0.5, 0.45, "\n".join(shown) or "no data", ha="center", va="center", fontsize=15, color="tab:blue")


def draw_series(axes: Axes, prometheus: str, panel: dict[str, Any], start: float, end: float) -> None:
    """Draw the numbers over time."""
    lines = 0
    for target in panel["targets"]:
        found = ask(
            prometheus,
            "/api/v1/query_range",
            query=target["expr"],
            start=str(start),
            end=str(end),
            step=str((end - start) / POINTS),
        )
        for series in found:
            moments, values = zip(*series["values"], strict=True)
            axes.plot(
                [moment_of(moment) for moment in moments],
                [float(value) for value in values],
                linewidth=1,
                label=legend(target.get("legendFormat", ""), series["metric"]),
            )
            lines += 1
    unit = UNITS.get(panel["fieldConfig"]["defaults"].get("unit", ""), "")
    axes.yaxis.set_major_formatter(EngFormatter(unit))
    locator = AutoDateLocator(maxticks=4)  # type: ignore[no-untyped-call] # so is the formatter
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlim(moment_of(start), moment_of(end))
    axes.tick_params(labelsize=6)
    axes.xaxis.get_offset_text().set_fontsize(6)
    axes.grid(alpha=0.3)
    if not lines:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes, fontsize=8, color="gray")
    elif lines <= FEW:
        axes.legend(fontsize=5, loc="best", frameon=False)


def main() -> None:
    """Draw all panels at their places."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("prometheus", help="its address")
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--minutes", type=float, default=10, help="how far back")
    options = arguments.parse_args()
    end = time.time()
    panels = json.loads(DASHBOARD.read_text().replace("$__rate_interval", RATE_INTERVAL))["panels"]
    columns = max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in panels)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(columns * COLUMN, rows * ROW), dpi=100)
    for panel in panels:
        place = panel["gridPos"]
        left, bottom = (place["x"] + 0.8) / columns, 1 - (place["y"] + place["h"] - 1.0) / rows
        axes = figure.add_axes((left, bottom, (place["w"] - 1.1) / columns, (place["h"] - 2.0) / rows))
        axes.set_title(panel["title"], fontsize=8, loc="left")
        if panel["type"] == "stat":
            draw_stat(axes, options.prometheus, panel)
        else:
            draw_series(axes, options.prometheus, panel, end - options.minutes * 60, end)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
