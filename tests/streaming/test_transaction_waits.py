"""How long a request waits that comes while the transaction before is still being ended."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from stream_qa.streaming.batches import Batches
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.transactions import Transactions

TOPIC = "labels"
#: Kafka's CONCURRENT_TRANSACTIONS.
ENDING = 51
REQUESTS = ("InitProducerId", "AddPartitionsToTxn", "Produce", "EndTxn")
"""Of one transaction, in their order, by the protocol in which the coordinator is told what will be written to."""


class Broker:
    """A broker that is still ending the transaction before when it gets the request ``busy_at``, for so long."""

    def __init__(self, busy_at: str, seconds: float) -> None:
        self._free = REQUESTS.index(busy_at)
        self._left = seconds
        self.requests = 0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._left -= seconds

    async def start(self) -> None:
        """Be there already."""

    async def coordinator(self, _transactional_id: str) -> int:
        return 1

    async def has_epoch_a_transaction(self, _node: int) -> bool:
        return False

    def leader(self, _topic: str, _partition: int) -> int:
        return 1

    async def send(self, _node: int, _request: object, _channel: int = 0) -> Any:  # noqa: ANN401 # of any request
        is_busy = self.requests >= self._free and self._left > 0
        self.requests += 1
        code = ENDING if is_busy else 0
        return SimpleNamespace(
            error_code=code,
            producer_id=7,
            producer_epoch=0,
            errors=[(TOPIC, [(0, code)])],
            topics=[(TOPIC, [(0, code, 0)])],
        )

    async def commit_one(self) -> None:
        """Go through one transaction."""
        transactions = Transactions(cast("Connections", self), "id", 30, self.sleep)
        batches = Batches()
        batches.add((TOPIC, 0), b"key", b"value")
        await transactions.initialise()
        await transactions.write(batches)
        await transactions.commit()


@pytest.mark.parametrize("busy_at", REQUESTS)
async def test_a_request_is_repeated_soon_where_the_end_of_the_transaction_before_takes_a_moment(
    busy_at: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(busy_at, 0.006)
    await broker.commit_one()
    assert broker.waits == [0.001, 0.002, 0.004]
    assert caplog.text == ""


@pytest.mark.parametrize("busy_at", REQUESTS)
async def test_a_request_is_repeated_seldom_where_it_takes_long_and_the_log_says_so_once(
    busy_at: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(busy_at, 60.0)
    await broker.commit_one()
    assert broker.requests < 10 * 60 + len(REQUESTS) + 10
    assert max(broker.waits) == 0.1
    [warning] = caplog.records
    assert f"id: {busy_at}: the transaction before is still being ended" in warning.getMessage()
