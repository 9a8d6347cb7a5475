"""What many labels mean before any is learned from: in which order, what each replaces, how much has faded.

None of it depends on coefficients, and all of it is a function of the labels in their order: versions, counts and
moments are those of one label at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.rule import Columns

OF_ENTITY = ("version", "labels", "newest_at", "decay")
"""The fields of an entity that a plan brings up to date."""
OF_APPLICATION = ("revision", "value", "weight", "decay")
"""The same of a contribution."""


@dataclass(frozen=True)
class Batch:
    """``n`` labels in log order, for ``m`` entities and ``k`` applications; all arrays of shape ``(n,)`` but one."""

    entity: Integers
    """Which of the ``m`` entities."""
    application: Integers
    """Which of the ``k`` contributions."""
    features: Floats
    """Whitened, shape ``(n, d)``."""
    offset: Floats
    """The log-odds of everything but this effect."""
    value: Integers
    """1, 0, or -1 where nothing is known yet."""
    weight: Floats
    revision: Integers
    happened_at: Integers


class Plan(NamedTuple):
    """What is known of ``n`` labels before any step is taken, arrays of shape ``(n,)``."""

    step: Integers
    """How many steps its entity takes before it."""
    version: Integers
    """The entity's before."""
    learned: Booleans
    """Whether the label says something else than its application's label before."""
    replaces: Booleans
    """Whether its application has a label that counts."""
    said: Integers
    """The value of that label; -1 where there is none."""
    said_weight: Floats
    kept: Floats
    """How much is left of what that one had added."""
    fading: Floats
    """How much of what the entity learned is left after the event time that has passed."""


def make_plan(time_constant: float, entities: Columns, contributions: Columns, batch: Batch) -> Plan:
    """Return the plan for ``batch``, and bring versions, counts, moments and what labels say up to date, in place.

    An entity fades from its newest label to this one: a label from before that fades nothing, nor does the first.
    """
    versions, counts, newest, decays = (entities[name].tolist() for name in OF_ENTITY)
    revisions, values, weights, decays_then = (contributions[name].tolist() for name in OF_APPLICATION)
    steps = [0] * len(versions)
    count = len(batch.entity)
    places = [0] * count
    before, learned, replaces = [0] * count, [True] * count, [False] * count
    since, passes = [0.0] * count, [0.0] * count
    all_said, said_weights = [-1] * count, [0.0] * count
    told = (batch.entity, batch.application, batch.value, batch.weight, batch.revision, batch.happened_at)
    for row, (entity, application, value, weight, revision, happened_at) in enumerate(
        zip(*(array.tolist() for array in told), strict=True)
    ):
        places[row] = step = steps[entity]
        revisions[application] = revision
        version = before[row] = versions[entity]
        said = all_said[row] = values[application]
        said_weights[row] = weights[application]
        if said >= 0:
            replaces[row] = True
            since[row] = decays[entity] - decays_then[application]
        if value == said and weight == weights[application]:
            learned[row] = False
            continue
        if happened_at > newest[entity]:
            if version:
                passes[row] = passed = (happened_at - newest[entity]) / time_constant
                decays[entity] += passed
            newest[entity] = happened_at
        steps[entity] = step + 1
        versions[entity] = version + 1
        counts[entity] += (value >= 0) - (said >= 0)
        values[application], weights[application], decays_then[application] = value, weight, decays[entity]
    _bring_up_to_date(entities, OF_ENTITY, (versions, counts, newest, decays))
    _bring_up_to_date(contributions, OF_APPLICATION, (revisions, values, weights, decays_then))
    return Plan(
        np.array(places, np.int64),
        np.array(before, np.int64),
        np.array(learned, np.bool_),
        np.array(replaces, np.bool_),
        np.array(all_said, np.int64),
        np.array(said_weights, np.float64),
        np.exp(-np.array(since)),
        np.exp(-np.array(passes)),
    )


def _bring_up_to_date(columns: Columns, names: Sequence[str], accounts: Sequence[list[Any]]) -> None:
    for name, account in zip(names, accounts, strict=True):
        columns[name] = np.array(account, columns[name].dtype)
