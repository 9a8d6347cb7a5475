"""The difference of two bundles, for people."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from stream_qa.cli.moments import in_words

_MOST_WEIGHTS = 8
_MOMENTS = {"first_applied_at", "last_applied_at", "until"}


def show_difference(console: Console, found: dict[str, Any]) -> None:
    """Print what :func:`~stream_qa.bundle.difference` has found."""
    table = Table("", *found["versions"], box=None, pad_edge=False)
    for name, pair in found["training"].items():
        table.add_row(name.replace("_", " "), *(in_words(value) if name in _MOMENTS else str(value) for value in pair))
    table.add_row("feature schema", *found["feature_schema"]["schemas"])
    table.add_row("feature scales", *_said_once(found["scales"]["same"]))
    _add_global(table, found["global"])
    for side, pair in (found["priors"] or {}).items():
        table.add_row(f"prior precisions of {side}s", *(_numbers(values) for values in pair))
    curves = found["curves"]
    levels = ("none" if count is None else f"{count} levels of activity" for count in curves["levels"])
    table.add_row("silence curves", *levels)
    for day, pair in curves["answered_by_day"].items():
        table.add_row(f"  answered by day {day}", *("" if share is None else f"{share:.3f}" for share in pair))
    for what in ("policy", "hyper_parameters"):
        for name, pair in found[what].items():
            table.add_row(f"{what.replace('_', '-')} {name}", *map(str, pair))
    for name in ("auc", "log_loss"):
        for model in ("global_only", "personalised"):
            figures = (None if held_out is None else held_out[model][name] for held_out in found["held_out"])
            table.add_row(
                f"held-out {name.replace('_', '-')}, {model.replace('_', ' ')}",
                *("" if figure is None else f"{figure:.4f}" for figure in figures),
            )
    console.print(table, markup=False, highlight=False)


def _add_global(table: Table, found: dict[str, Any]) -> None:
    kinds = found["kinds"]
    table.add_row("global model", kinds[0], f"{kinds[1]}, the same" if found["same"] else kinds[1])
    if "intercepts" not in found or found["same"]:
        return
    table.add_row("  intercept", *(f"{value:+.4f}" for value in found["intercepts"]))
    moved = [
        (abs(pair[1] - pair[0]), f"  {side} feature {number}", pair)
        for side in ("member", "job")
        for number, pair in enumerate(zip(*found[f"{side}_weights"], strict=False), start=1)
    ]
    moved.sort(key=lambda each: -each[0])
    for _, name, pair in moved[:_MOST_WEIGHTS]:
        table.add_row(name, *(f"{value:+.4f}" for value in pair))
    if len(moved) > _MOST_WEIGHTS:
        table.add_row("", f"and {len(moved) - _MOST_WEIGHTS} weights that moved less")


def _said_once(same: bool) -> tuple[str, str]:
    return ("", "the same") if same else ("", "others: a group that learned by one refuses the other")


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)
