"""How good scores are, beyond ``learning/metrics.py``: calibration, order within groups, and intervals.

A group is what one look at a job saw: its applications of one day, all scored by the coefficients with which the day
began. Scores of different moments must not be compared within a job: each knows the answers of the job's applications
before it, not its own, so the order of the moments would be part of the result.
"""

from collections.abc import Iterator

import numpy as np

from stream_qa.learning import probability
from stream_qa.learning.arrays import Floats, Integers

BINS = 15
REPLICATES = 500
_TAILS = (0.025, 0.975)


def calibration(values: Floats, log_odds: Floats) -> tuple[Floats, Floats, Integers]:
    """Return mean probability, share of positives and count of each bin of equal width that has any.

    Parameters
    ----------
    values
        0 or 1, shape ``(n,)``.
    log_odds
        Shape ``(n,)``.
    """
    chance = probability(log_odds)
    bins = np.minimum((chance * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    predicted, came = (np.bincount(bins, weights=what, minlength=BINS)[filled] for what in (chance, values))
    return predicted / counts[filled], came / counts[filled], counts[filled]


def calibration_error(values: Floats, log_odds: Floats) -> float:
    """Return how far probabilities are from the share of positives, a mean over bins weighted by their counts.

    References
    ----------
    Guo et al. (2017), On Calibration of Modern Neural Networks: the expected calibration error, with 15 bins.
    """
    predicted, came, counts = calibration(values, log_odds)
    return float((np.abs(predicted - came) * counts).sum() / counts.sum())


def pair_auc(values: Floats, scores: Floats, group: Integers) -> float | None:
    """Return the share of pairs of a positive and a negative of one group in which the positive is above.

    All pairs count the same, ties half.

    Parameters
    ----------
    values
        0 or 1, shape ``(n,)``.
    scores
        Shape ``(n,)``.
    group
        Which group each is in, shape ``(n,)``.

    Returns
    -------
    float or None
        ``None`` where no group has both.
    """
    value, first, tied, runs = _best_first(values, scores, group)
    positives, negatives = np.add.reduceat(value, tied), np.add.reduceat(1.0 - value, tied)
    of_group = np.add.reduceat(negatives, runs)
    # Negatives below: all of the group but those before in the order, which has groups one after another.
    before = np.cumsum(negatives) - negatives
    below = np.repeat(of_group + before[runs], np.diff(np.append(runs, len(tied)))) - before - negatives
    pairs = (np.add.reduceat(value, first) * of_group).sum()
    if not pairs:
        return None
    return float((positives * (below + negatives / 2)).sum() / pairs)


def ndcg(values: Floats, scores: Floats, group: Integers, places: int = 10) -> float | None:
    """Return the mean, over groups with positives and negatives, of the normalised gain of the first ``places``.

    Equal scores share the gains of their places.

    Parameters
    ----------
    values
        0 or 1, shape ``(n,)``.
    scores
        Shape ``(n,)``.
    group
        Which group each is in, shape ``(n,)``.
    places
        How many are looked at.

    Returns
    -------
    float or None
        ``None`` where no group has both.

    References
    ----------
    Järvelin and Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques. McSherry and Najork (2008),
    Computing information retrieval performance measures efficiently in the presence of tied scores.
    """
    value, first, tied, runs = _best_first(values, scores, group)
    sizes = np.diff(np.append(first, len(value)))
    place = np.arange(len(value)) - np.repeat(first, sizes)
    discount = np.where(place < places, 1.0 / np.log2(2.0 + place), 0.0)
    many = np.diff(np.append(tied, len(value)))
    gain = np.add.reduceat(np.add.reduceat(value, tied) / many * np.add.reduceat(discount, tied), runs)
    positives = np.add.reduceat(value, first)
    both = (positives > 0) & (positives < sizes)
    if not both.any():
        return None
    ideal = np.cumsum(1.0 / np.log2(2.0 + np.arange(places)))
    best = ideal[np.minimum(positives[both].astype(np.int64), places) - 1]
    return float((gain[both] / best).mean())


def auc_interval(
    values: Floats, scores: Floats, job: Integers, seed: int = 0, replicates: int = REPLICATES
) -> tuple[float, float] | None:
    """Return the 95% interval of the AUC where not applications but whole jobs are drawn anew.

    The draws depend on ``job`` and ``seed`` alone: models on the same rows get the same ones.

    Parameters
    ----------
    values
        0 or 1, shape ``(n,)``.
    scores
        Shape ``(n,)``.
    job
        Which job each is of, from 0, shape ``(n,)``.
    seed
        Of the draws.
    replicates
        How many draws.

    Returns
    -------
    tuple or None
        ``None`` where no draw has both positives and negatives.

    References
    ----------
    Efron (1979), Bootstrap methods: percentiles of the cluster bootstrap.
    """
    return interval(drawn_aucs(values, scores, job, seed, replicates))


def interval(draws: Floats) -> tuple[float, float] | None:
    """Return the 95% interval of what draws gave, shape ``(r,)``; those that are NaN gave nothing.

    Returns
    -------
    tuple or None
        ``None`` where no draw gave anything.
    """
    found = draws[~np.isnan(draws)]
    if not len(found):
        return None
    low, high = np.quantile(found, _TAILS)
    return float(low), float(high)


def drawn_aucs(values: Floats, scores: Floats, job: Integers, seed: int = 0, replicates: int = REPLICATES) -> Floats:
    """Return the AUC of each draw of whole jobs, shape ``(replicates,)``; NaN without positives or negatives.

    See :func:`auc_interval`. The draws are those of :func:`drawn_means`, so differences may be taken draw by draw.
    """
    order = np.argsort(scores, kind="stable")
    value, score, of = values[order], scores[order], job[order]
    tied = _starts(score[1:] != score[:-1])
    found = np.full(replicates, np.nan)
    for number, drawn in enumerate(_draws(job, seed, replicates)):
        weight = drawn[of].astype(np.float64)
        positives = np.add.reduceat(weight * value, tied)
        negatives = np.add.reduceat(weight, tied) - positives
        pairs = positives.sum() * negatives.sum()
        if pairs:
            below = np.cumsum(negatives) - negatives
            found[number] = (positives * (below + negatives / 2)).sum() / pairs
    return found


def drawn_means(each: Floats, job: Integers, seed: int = 0, replicates: int = REPLICATES) -> Floats:
    """Return the mean of ``each``, shape ``(n,)``, in each draw of whole jobs, shape ``(replicates,)``.

    See :func:`auc_interval`. Of the differences of two models on the same rows it is a paired comparison.
    """
    sums, counts = np.bincount(job, weights=each), np.bincount(job)
    return np.array([(drawn @ sums) / (drawn @ counts) for drawn in _draws(job, seed, replicates)])


def _draws(job: Integers, seed: int, replicates: int) -> Iterator[Integers]:
    """Yield how often each job is drawn; every draw has as many as there are."""
    drawn, count = np.random.default_rng(seed), int(job.max()) + 1
    for _ in range(replicates):
        yield np.bincount(drawn.integers(count, size=count), minlength=count)


def _best_first(values: Floats, scores: Floats, group: Integers) -> tuple[Floats, Integers, Integers, Integers]:
    """Put rows in the order of groups, and within a group the highest score first.

    Returns
    -------
    tuple
        The values in this order; where groups begin; where runs of equal scores of one group begin; and which of these
        runs are the first of their group.
    """
    order = np.lexsort((-scores, group))
    score, of = scores[order], group[order]
    other_group = of[1:] != of[:-1]
    first, tied = _starts(other_group), _starts(other_group | (score[1:] != score[:-1]))
    return values[order], first, tied, np.searchsorted(tied, first)


def _starts(changes: np.ndarray) -> Integers:
    """Return where runs begin, from whether each but the first differs from the one before."""
    return np.concatenate([[0], np.flatnonzero(changes) + 1])
