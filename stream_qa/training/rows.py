"""What is trained on: applications with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_qa.learning.arrays import Booleans, Floats, Integers


@dataclass(frozen=True)
class Entities:
    """The members, or the jobs, of ``n`` applications."""

    ids: list[str]
    """Of ``m`` entities."""
    of: Integers
    """Which of ``ids`` each application has, shape ``(n,)``."""

    @classmethod
    def of_ids(cls, ids: Sequence[str]) -> "Entities":
        """Return those whose ids ``n`` applications name, in the order in which they first do."""
        numbers: dict[str, int] = {}
        of = np.array([numbers.setdefault(entity_id, len(numbers)) for entity_id in ids], np.int64)
        return cls(list(numbers), of)

    def select(self, chosen: Booleans) -> "Entities":
        """Return those of chosen applications, shape ``(n,)``, and no others."""
        numbers, of = np.unique(self.of[chosen], return_inverse=True)
        return Entities([self.ids[number] for number in numbers.tolist()], of)


@dataclass(frozen=True)
class Rows:
    """``n`` applications with labels."""

    members: Entities
    jobs: Entities
    member_features: Floats
    """Raw, shape ``(n, k)``."""
    job_features: Floats
    """Raw, shape ``(n, l)``."""
    brought: Floats
    """The global log-odds that an application brings; NaN where it brings none. Shape ``(n,)``."""
    value: Floats
    """0 or 1, shape ``(n,)``."""

    def __len__(self) -> int:
        return len(self.value)

    def select(self, chosen: Booleans) -> "Rows":
        """Return the chosen ones, shape ``(n,)``."""
        return Rows(
            self.members.select(chosen),
            self.jobs.select(chosen),
            self.member_features[chosen],
            self.job_features[chosen],
            self.brought[chosen],
            self.value[chosen],
        )
