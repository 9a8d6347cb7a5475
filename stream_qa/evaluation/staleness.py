"""What it costs when servers get nothing new any more: of members, of jobs, of both, by how long ago that was.

The pipeline learns on. Servers have what it had learned when the first day began, and of the other side what it had
learned when the application's own day began: so what differs between two scores is the age of one side's coefficients.
"""

from dataclasses import dataclass

import numpy as np

from stream_qa.durations import DAY
from stream_qa.evaluation.evaluate import Scored
from stream_qa.evaluation.replayed import Replayed
from stream_qa.learning.arrays import Floats
from stream_qa.learning.metrics import auc

AGE_DAYS = 28
"""Ages are told apart by so many days."""


@dataclass(frozen=True)
class Staleness:
    """AUCs of the applications that were sent at one age; ``None`` where their targets are all alike."""

    from_day: int
    """The first day of the age, counted from when the servers got the last."""
    until_day: int
    """The day after its last."""
    applications: int
    live: float | None
    """Where servers get what was learned when a day begins."""
    members_frozen: float | None
    jobs_frozen: float | None
    both_frozen: float | None
    global_alone: float | None


def with_members_frozen(rows: Replayed) -> Floats:
    """Return the log-odds by members' coefficients of the beginning, shape ``(n,)``; NaN before it."""
    return rows.global_log_odds + rows.published.frozen_member + rows.published.daily_job


def with_jobs_frozen(rows: Replayed) -> Floats:
    """Return the log-odds by jobs' coefficients of the beginning, shape ``(n,)``; NaN before it."""
    return rows.global_log_odds + rows.published.daily_member + rows.published.frozen_job


def with_both_frozen(rows: Replayed) -> Floats:
    """Return the log-odds by all coefficients of the beginning, shape ``(n,)``; NaN before it."""
    return rows.global_log_odds + rows.published.frozen_member + rows.published.frozen_job


def staleness(rows: Replayed, scored: Scored, since: int, days: int = AGE_DAYS) -> list[Staleness]:
    """Return how good scores are by the age of what servers have, the youngest first.

    Parameters
    ----------
    rows
        What was replayed.
    scored
        The applications that count.
    since
        When servers got the last (ms).
    days
        How many days are one age.
    """
    variants = (
        rows.published.daily,
        with_members_frozen(rows),
        with_jobs_frozen(rows),
        with_both_frozen(rows),
        rows.global_log_odds,
    )
    age = (rows.applied_at[scored.rows] - since) // (days * DAY)
    found = []
    for number in range(int(age.max()) + 1):
        chosen = np.flatnonzero(age == number)
        areas = [auc(scored.target[chosen], log_odds[scored.rows[chosen]]) for log_odds in variants]
        found.append(Staleness(number * days, (number + 1) * days, len(chosen), *areas))
    return found
