"""Gradient-boosted trees over the features of both sides, as one would deploy them without random effects."""

from datetime import UTC, datetime
from importlib.util import find_spec

import numpy as np

from stream_qa.errors import MissingExtraError
from stream_qa.evaluation.replayed import Replayed
from stream_qa.learning.arrays import Booleans, Floats


def trees_available() -> bool:
    """Return whether the library that grows them is installed."""
    return find_spec("sklearn") is not None


def check_trees() -> None:
    """Check that trees can be grown.

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.
    """
    if not trees_available():
        raise MissingExtraError("trees need scikit-learn: pip install 'stream-qa[evaluation]'")


def trees(rows: Replayed, trained_at: list[int], window: int) -> Floats:
    """Return the log-odds of trees that are grown at some moments, each time in use from then until the next.

    They are grown on all final labels of applications whose window was over by then.

    Parameters
    ----------
    rows
        What was replayed. Those before the first moment get its trees' score too.
    trained_at
        The moments (ms), ascending, one at least.
    window
        From an application to its final label, in milliseconds.

    Returns
    -------
    Floats
        Shape ``(n,)``.

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.
    """
    check_trees()
    features = np.column_stack([rows.member_features, rows.job_features])
    scores = np.empty(len(rows))
    for number, moment in enumerate(trained_at):
        known = ~np.isnan(rows.final) & (rows.applied_at + window <= moment)
        served = (rows.applied_at >= moment) if number else np.ones(len(rows), np.bool_)
        if served.any():
            scores[served] = _grown(features, rows.final, known, served)
    return scores


def first_days_of_months(since: int, until: int) -> list[int]:
    """Return the beginnings of months (UTC, ms) after ``since`` and before ``until`` (ms)."""
    first = datetime.fromtimestamp(since / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = []
    while (moment := round(first.timestamp() * 1000)) < until:
        if moment > since:
            found.append(moment)
        first = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return found


def _grown(features: Floats, values: Floats, known: Booleans, served: Booleans) -> Floats:
    """Return the log-odds of served rows by trees grown on known ones; where these are all alike, their own rate."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 # an extra: not everybody has it

    count, positives = known.sum(), values[known].sum()
    if positives in (0, count):
        return np.full(int(served.sum()), np.log((positives + 1) / (count - positives + 1)))
    model = HistGradientBoostingClassifier(random_state=0).fit(features[known], values[known])
    return np.asarray(model.decision_function(features[served]), np.float64)
