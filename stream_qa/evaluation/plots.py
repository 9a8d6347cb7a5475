"""Which plots the report has, and what each shows."""

from collections.abc import Mapping
from itertools import pairwise

from stream_qa.evaluation.evaluate import ModelScores, Scored
from stream_qa.evaluation.figures import (
    LABEL_COUNTS,
    PUBLISH_INTERVALS,
    by_week,
    calibrations,
    label_delay,
    publish_cost,
    staleness_by_week,
    who_gains,
)
from stream_qa.evaluation.models import PUBLISHED
from stream_qa.evaluation.replayed import Replayed
from stream_qa.evaluation.report import Plot, staleness_table
from stream_qa.evaluation.staleness import staleness

_DAYS = "days since --from"


def plots(models: Mapping[str, ModelScores], rows: Replayed, scored: Scored, *, since: int, window: int) -> list[Plot]:
    """Return the report's plots.

    Parameters
    ----------
    models
        Scores of all rows by the models' names; those of other publish intervals have a plot of their own.
    rows
        What was replayed.
    scored
        The applications that count.
    since
        The first of them may be sent then (ms).
    window
        From an application to its final label (ms).
    """
    models = {name: scores for name, scores in models.items() if name not in PUBLISHED}
    cost = publish_cost(rows, scored)
    figures = ", ".join(f"{name} {area:.4f}" for name, area in zip(PUBLISH_INTERVALS, cost.y.tolist(), strict=True))
    found = [
        Plot(
            "AUC by week",
            "Each point is a week's applications, scored when they arrived.",
            _DAYS,
            "AUC",
            by_week(models, rows, scored, since),
        ),
        Plot(
            "Staleness",
            "AUC above the global model's, by week, where servers get what was learned when a day begins, and where "
            "they got the last at --from: of members, of jobs, of both. The pipeline learns on. Below, the same by "
            "age: what is frozen by its difference to what is live.",
            _DAYS,
            "AUC above global",
            staleness_by_week(rows, scored, since),
            table=staleness_table(staleness(rows, scored, since)),
        ),
        Plot(
            "Calibration",
            "The share of positives among applications of about the same probability.",
            "mean probability",
            "share of positives",
            calibrations(models, scored),
            diagonal=True,
        ),
        Plot(
            "Label delay",
            "The share of applications that have a label by an age. Who waits for the window has none before its end.",
            "days since the application",
            "share",
            label_delay(rows, scored, window),
        ),
        Plot(
            "Publish interval",
            "The AUC of the pipeline, whose members and jobs learn at once, where servers get what they have learned "
            f"when an hour, a day or a week begins: {figures}.",
            "coefficients are published",
            "AUC",
            [cost],
            classes=PUBLISH_INTERVALS,
        ),
    ]
    classes = _classes()
    for kind, lines in who_gains(models, rows, scored).items():
        found.append(
            Plot(
                f"Who gains: by the labels of the {kind}",
                f"AUC by how many of the {kind}'s applications had a label when this one arrived.",
                f"labels of the {kind}",
                "AUC",
                lines,
                classes=classes,
            )
        )
    return found


def _classes() -> list[str]:
    names = [str(low) if high == low + 1 else f"{low} to {high - 1}" for low, high in pairwise(LABEL_COUNTS)]
    return [*names, f"{LABEL_COUNTS[-1]} or more"]
