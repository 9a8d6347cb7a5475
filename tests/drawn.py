"""Data to train on that is drawn, not read."""

import numpy as np

from stream_qa.learning.arrays import Floats
from stream_qa.training.rows import Entities, Rows


def rows(
    random: np.random.Generator,
    count: int,
    *,
    members: int = 6,
    jobs: int = 4,
    member_features: int = 2,
    job_features: int = 1,
    brought: float = 0.0,
) -> Rows:
    """Return ``count`` applications whose labels follow from features and entities; a share has ``brought`` a score."""
    of_member, of_job = (
        random.normal(1.0, 2.0, (count, member_features)),
        random.normal(0.0, 1.0, (count, job_features)),
    )
    member, job = entities("member", random, count, members), entities("job", random, count, jobs)
    odds = 0.3 + of_member.sum(axis=1) / 4 - of_job.sum(axis=1) / 2
    odds += random.normal(0, 1, members + 1)[member.of] + random.normal(0, 1, jobs + 1)[job.of]
    scores = np.where(random.random(count) < brought, odds / 2, np.nan)
    value = (random.random(count) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    return Rows(member, job, of_member, of_job, scores, value)


def entities(kind: str, random: np.random.Generator, count: int, of: int) -> Entities:
    """Return ``of`` entities at most, in the rows of ``count`` applications."""
    numbers, places = np.unique(random.integers(0, of, count), return_inverse=True)
    return Entities([f"{kind}-{number}" for number in numbers.tolist()], places)


def with_intercept(features: Floats) -> Floats:
    return np.column_stack([np.ones(len(features)), features])


def standardised(features: Floats, bound: float) -> Floats:
    return np.asarray(np.clip((features - np.mean(features, axis=0)) / np.std(features, axis=0), -bound, bound))


def penalised_loss(coefficients: Floats, features: Floats, offset: Floats, values: Floats, precisions: Floats) -> float:
    """Return the penalised loss of a logistic regression, written down once more."""
    odds = features @ coefficients + offset
    losses = np.where(values == 1, np.log1p(np.exp(-odds)), np.log1p(np.exp(odds)))
    return float(losses.sum() + 0.5 * (precisions * coefficients**2).sum())
