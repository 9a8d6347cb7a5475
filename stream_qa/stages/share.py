"""What a learner's partition is of a topic: which entities are its own, and how many others there are."""

from collections.abc import Callable
from typing import NamedTuple


class Share(NamedTuple):
    """One of equally many partitions; by default the only one."""

    partitions: int = 1
    has: Callable[[str], bool] = lambda _entity_id: True
    """Whether an entity's records are in it."""


ALL = Share()
