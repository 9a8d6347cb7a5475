"""The numbers behind the report's plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream_qa.durations import DAY
from stream_qa.evaluation.evaluate import ModelScores, Scored
from stream_qa.evaluation.metrics import calibration
from stream_qa.evaluation.replayed import LabelSteps, Replayed
from stream_qa.evaluation.staleness import staleness
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.metrics import auc
from stream_qa.training.moments import EntityMoments

_WEEK = 7 * DAY
_DELAYS = 100
LABEL_COUNTS = (0, 1, 3, 10, 30)
"""Where the classes of entities by their number of labels begin."""
PUBLISH_INTERVALS = ("when learned", "hourly", "daily", "weekly")


@dataclass(frozen=True)
class Line:
    """Points, not all of which need be there: NaN stands for none. Shapes ``(p,)``."""

    name: str
    x: Floats
    y: Floats


def by_week(models: Mapping[str, ModelScores], rows: Replayed, scored: Scored, since: int) -> list[Line]:
    """Return each model's AUC by week from ``since`` (ms); x is the first day of the week, in days since ``since``."""
    week = (rows.applied_at[scored.rows] - since) // _WEEK
    return [_aucs(name, scores.log_odds[scored.rows], scored, week, 7.0) for name, scores in models.items()]


def staleness_by_week(rows: Replayed, scored: Scored, since: int) -> list[Line]:
    """Return by week what personalisation adds to the global model's AUC, as it learns on and frozen at ``since`` (ms).

    Of a side that is not frozen the coefficients are those of the day's beginning; x as in :func:`by_week`.
    """
    weeks = staleness(rows, scored, since, days=7)
    x = np.array([week.from_day for week in weeks], np.float64)
    base = _numbers([week.global_alone for week in weeks])
    return [
        Line(name, x, _numbers([getattr(week, what) for week in weeks]) - base)
        for name, what in (
            ("nothing frozen", "live"),
            ("members frozen", "members_frozen"),
            ("jobs frozen", "jobs_frozen"),
            ("both frozen", "both_frozen"),
        )
    ]


def publish_cost(rows: Replayed, scored: Scored) -> Line:
    """Return the pipeline's AUC by how often coefficients are published; x is the number in ``PUBLISH_INTERVALS``."""
    published = rows.published
    variants = (rows.log_odds, published.hourly, published.daily, published.weekly)
    areas = [auc(scored.target, log_odds[scored.rows]) for log_odds in variants]
    return Line(
        "personalised",
        np.arange(len(variants), dtype=float),
        _numbers(areas),
    )


def calibrations(models: Mapping[str, ModelScores], scored: Scored) -> list[Line]:
    """Return each model's share of positives by its mean probability, in bins."""
    found = {name: calibration(scored.target, scores.log_odds[scored.rows]) for name, scores in models.items()}
    return [Line(name, predicted, came) for name, (predicted, came, _) in found.items()]


def label_delay(rows: Replayed, scored: Scored, window: int) -> list[Line]:
    """Return which share of applications has a label by an age; x is the age in days, up to the window (ms)."""
    ages = np.arange(_DELAYS + 1, dtype=np.float64) * (window / DAY / _DELAYS)
    steps = rows.steps
    told = {
        "any label": np.ones(len(steps.row), np.bool_),
        "its final value": steps.value == rows.final[steps.row],
        "a positive label": steps.value == 1,
    }
    lines = []
    for name, chosen in told.items():
        first = _first_known(len(rows), LabelSteps(*(what[chosen] for what in steps)))
        of = scored.rows[scored.target == 1] if name == "a positive label" else scored.rows
        label = f"{name}, of those whose target is positive" if name == "a positive label" else name
        after = np.sort((first[of] - rows.applied_at[of]) / DAY)
        lines.append(Line(label, ages, np.searchsorted(after, ages, side="right") / max(len(of), 1)))
    return lines


def who_gains(models: Mapping[str, ModelScores], rows: Replayed, scored: Scored) -> dict[str, list[Line]]:
    """Return each model's AUC by how many labels member and job had, a list for each kind of entity.

    x is the number of the class, see ``LABEL_COUNTS``.
    """
    first = _first_known(len(rows), rows.steps)
    kinds = {"member": rows.members.of, "job": rows.jobs.of}
    found = {}
    for kind, entity in kinds.items():
        count = EntityMoments(entity, first).count(entity, rows.applied_at, "left")[scored.rows]
        of = np.searchsorted(LABEL_COUNTS, count, side="right") - 1
        found[kind] = [_aucs(name, scores.log_odds[scored.rows], scored, of, 1.0) for name, scores in models.items()]
    return found


def _aucs(name: str, scores: Floats, scored: Scored, of: Integers, width: float) -> Line:
    """Return the AUC of each class 0, 1, 2 ... that applications are ``of``, shape ``(n,)``."""
    classes = np.arange(int(of.max()) + 1, dtype=np.float64)
    areas = [auc(scored.target[of == number], scores[of == number]) for number in classes]
    return Line(name, classes * width, _numbers(areas))


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values])


def _first_known(count: int, steps: LabelSteps) -> Floats:
    """Return when each of ``count`` applications first had one of the labels (ms), infinity for never."""
    first = np.full(count, np.inf)
    np.minimum.at(first, steps.row, steps.known_at.astype(np.float64))
    return first
