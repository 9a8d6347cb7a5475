"""Random effects that drift: an Ornstein-Uhlenbeck process for each entity, looked at only when it is needed."""

import numpy as np
from numpy.typing import NDArray


def drifting_log_odds(
    entity: NDArray[np.int64],
    applied_at: NDArray[np.int64],
    *,
    features: NDArray[np.float64],
    precision: NDArray[np.float64],
    half_life: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return ``w_e(t) · [1, x]`` of every application, shape (applications,).

    The process is stationary with variance ``1 / precision``. Between two applications of an entity, ``d`` apart, its
    correlation is ``r = 0.5 ** (d / half_life)``, and ``w(t + d) = r w(t) + sqrt(1 - r²) n`` with ``n`` drawn afresh
    from the stationary distribution is the process itself, not an approximation (Uhlenbeck and Ornstein, 1930).

    Parameters
    ----------
    entity
        Numbers of the entities from 0, shape (applications,).
    applied_at
        Milliseconds, ascending, shape (applications,).
    features
        What the effect multiplies, without the intercept, shape (applications, features).
    precision
        1 / variance, the intercept first, shape (1 + features,).
    half_life
        Milliseconds.
    generator
        Source of randomness.
    """
    deviation = 1 / np.sqrt(precision)
    entities = int(entity.max(initial=-1)) + 1
    coefficients = np.zeros((entities, precision.size))
    # An infinite time ago: the first application of an entity draws from the stationary distribution.
    seen_at = np.full(entities, -np.inf)
    log_odds = np.empty(entity.size)
    # One round handles the k-th application of every entity at once: what depends on the round before is an entity's
    # own past only, and no more than one vector an entity is ever in memory.
    for rows in _rounds(entity):
        who = entity[rows]
        kept = 0.5 ** ((applied_at[rows] - seen_at[who]) / half_life)
        noise = generator.standard_normal((rows.size, precision.size)) * deviation
        now = kept[:, None] * coefficients[who] + np.sqrt(1 - kept**2)[:, None] * noise
        coefficients[who] = now
        seen_at[who] = applied_at[rows]
        log_odds[rows] = now[:, 0] + np.einsum("ij,ij->i", now[:, 1:], features[rows])
    return log_odds


def _rounds(entity: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows that are the first of their entity, those that are the second, and so on."""
    if not entity.size:
        return []
    by_entity = np.argsort(entity, kind="stable")
    counts = np.bincount(entity)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.arange(entity.size) - first
    by_rank = by_entity[np.argsort(rank, kind="stable")]
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])
