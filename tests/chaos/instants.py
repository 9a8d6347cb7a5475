"""The exact instants at which a worker can be struck, and how it strikes itself there.

Nothing of this is in the product: ``chaos.faulty_app`` wraps the methods that pass these instants, in its process only.
"""

import os
from enum import StrEnum
from pathlib import Path


class Instant(StrEnum):
    """A moment between two steps of a worker that nothing outside of it could hit."""

    IN_TRANSACTION = "in-transaction"
    """Everything is written, labels among it, and the end of the transaction is not sent."""
    COMMIT_SENT = "commit-sent"
    """The end of the transaction is on its way, and most likely not yet acknowledged."""
    COMMITTED = "committed"
    """The transaction has been committed, and some or all of the local tables do not have it."""
    STORED = "stored"
    """The local tables have it, and the next chunk has not begun."""
    INITIALISED = "initialised"
    """The former owner is fenced, and the changelog has not been read."""
    RESTORING = "restoring"
    """Some of the changelog has been read, and the tables are not open for work."""
    REBALANCING = "rebalancing"
    """The partitions are being taken away."""


class Orders:
    """What the driver has ordered this process to do to itself.

    Parameters
    ----------
    directory
        An order is the file ``strike`` there: the instant, the signal's number, and how often the instant is to be
        passed before. When it is carried out, its name becomes ``struck``.
    """

    def __init__(self, directory: Path) -> None:
        self._order = directory / "strike"
        self._passed = 0

    def has(self, instant: Instant) -> bool:
        """Whether there is an order for this instant."""
        try:
            return self._order.read_text().startswith(f"{instant} ")
        except FileNotFoundError:
            return False

    def passing(self, instant: Instant) -> None:
        """Strike, if this is the instant."""
        if not self.has(instant):
            return
        _, number, after = self._order.read_text().split()
        self._passed += 1
        if self._passed > int(after):
            self._passed = 0
            self._order.rename(self._order.with_name("struck"))
            os.kill(os.getpid(), int(number))
