"""Whether what one entity has learned does good, and whether it is flooded with answers: its vector is held back then.

Each of an entity's labels says how much worse or better its part has made the score, as for a whole side
(:mod:`stream_qa.learning.guard`). What is kept of it is integers, so that an entity's account is a function of its
labels in their order.
"""

from typing import NamedTuple

import numpy as np

from stream_qa.durations import DAY
from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.entity import Records

#: Accounts are in units of this many nats.
_UNIT = 1 / 64
#: The most that fits into a record (nats).
MOST = 1_000.0
#: Days of event time for which an entity is held back after the last day on which it was flooded.
FLOOD_DAYS = 14


class EntityPolicy(NamedTuple):
    """When an entity is held back; 0 for never."""

    evidence: float = 24.0
    """Nats by which its part must have made scores worse; it is held back until all of them are won back."""
    flood: float = 96.0
    """Nats by which its positives of one day must have surprised the score without its part."""
    bound: float = 20.0
    """No published coefficient may be larger."""


class EntityLabels(NamedTuple):
    """``n`` labels that changed what is known, in log order; shapes ``(n,)``."""

    entity: Integers
    """Which of the ``m`` entities."""
    worse: Floats
    """By how much the entity's part has made the score worse (nats)."""
    surprise: Floats
    """Of a positive to the score without the entity's part (nats); 0 for others."""
    happened_at: Integers
    """Event time (ms)."""


def is_harmful(entities: Records) -> Booleans:
    """Return which of ``entities``, shape ``(n,)``, have made scores worse, and not made up for it."""
    return np.asarray(entities["harmful"] > 0)


def is_flooded(entities: Records) -> Booleans:
    """Return which of ``entities``, shape ``(n,)``, were flooded of late, by the event time of their newest labels."""
    flooded = entities["flooded"].astype(np.int64)
    return np.asarray((flooded > 0) & (entities["newest_at"] // DAY < flooded + FLOOD_DAYS))


def judge_entities(policy: EntityPolicy, entities: Records, newest_at: Integers, labels: EntityLabels) -> Booleans:
    """Bring the accounts of ``entities``, shape ``(m,)``, up to date, in place.

    Parameters
    ----------
    policy
        When they are held back.
    entities
        After the labels, but for their accounts.
    newest_at
        The event time (ms) of their newest labels before, shape ``(m,)``.
    labels
        ``n`` labels of them.

    Returns
    -------
    Booleans
        Of which labels the entity was held back right after them, shape ``(n,)``.
    """
    evidence, flood = (round(min(bound, MOST) / _UNIT) for bound in (policy.evidence, policy.flood))
    most = round(MOST / _UNIT)
    days = (newest_at // DAY).tolist()
    harm, surprise, flooded, harmful = (entities[name].tolist() for name in ("harm", "surprise", "flooded", "harmful"))
    worse, surprising = (np.rint(column / _UNIT).astype(np.int64).tolist() for column in labels[1:3])
    held = np.zeros(len(worse), np.bool_)
    for row, (entity, day) in enumerate(zip(labels.entity.tolist(), (labels.happened_at // DAY).tolist(), strict=True)):
        if day > days[entity]:
            days[entity], surprise[entity] = day, 0
        surprise[entity] = min(surprise[entity] + surprising[row], most)
        if 0 < flood <= surprise[entity]:
            flooded[entity] = days[entity]
        harm[entity] = min(max(harm[entity] + worse[row], 0), evidence)
        harmful[entity] = int(evidence > 0 and (harm[entity] == evidence or (harmful[entity] > 0 and harm[entity] > 0)))
        is_of_flood = flooded[entity] > 0 and days[entity] < flooded[entity] + FLOOD_DAYS
        held[row] = harmful[entity] > 0 or is_of_flood
    for name, account in (("harm", harm), ("surprise", surprise), ("flooded", flooded), ("harmful", harmful)):
        entities[name] = np.array(account, entities[name].dtype)
    return held
