"""Brokers to be broken, one for each protocol of transactions."""

from pathlib import Path
from types import TracebackType
from typing import Self

from ports import free_port

from stream_qa.broker import DevelopmentBroker

_WITHOUT_EPOCH = {"transaction.version": 1}


class Brokers:
    """Starts a broker of each kind when it is asked for; a context manager that stops them.

    Parameters
    ----------
    directory
        Where they keep their data.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[bool, DevelopmentBroker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for broker in self._running.values():
            broker.down()

    def get(self, *, epoch_a_transaction: bool) -> DevelopmentBroker:
        """Return a broker that runs, one that gives every transaction an epoch of its own or one that does not."""
        broker = self._running.get(epoch_a_transaction)
        if broker is None:
            name = "broker" if epoch_a_transaction else "classic-broker"
            features = {} if epoch_a_transaction else _WITHOUT_EPOCH
            broker = DevelopmentBroker(self._directory / name, free_port(), features=features)
            broker.up()
            self._running[epoch_a_transaction] = broker
        return broker
