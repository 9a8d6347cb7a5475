"""How good scores are."""

import numpy as np

from stream_qa.learning.arrays import Floats


def auc(values: Floats, scores: Floats) -> float | None:
    """Return the area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Parameters
    ----------
    values
        0 or 1, shape ``(n,)``.
    scores
        Higher is more likely, shape ``(n,)``.

    Returns
    -------
    float or None
        ``None`` where there are not both positives and negatives.

    References
    ----------
    Mann and Whitney (1947): the area is their U statistic over the number of pairs.
    """
    positives = int(values.sum())
    negatives = len(values) - positives
    if not positives or not negatives:
        return None
    _, tied, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # The mean rank of each group of equal scores, ranks beginning at 1.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[tied]
    above = float(ranks[values == 1].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def log_loss(values: Floats, log_odds: Floats) -> float:
    """Return the mean of -log(probability of what came), for values 0 or 1 and log-odds, shapes ``(n,)``, n above 0."""
    return float((np.logaddexp(0.0, log_odds) - values * log_odds).mean())
