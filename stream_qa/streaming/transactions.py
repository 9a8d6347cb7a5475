"""Kafka transactions: one at a time for each transactional id, all ids of a process over the same few connections.

The client library's producer needs connections and tasks for every id, waits tens of milliseconds between
transactions, and repeats requests whose outcome it does not know. Here every request is sent once, and whatever is not
acknowledged ends the session: docs/decisions/0006-transactions.md says why.
"""

import asyncio
import itertools
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from stream_qa.errors import (
    BrokerUnavailableError,
    FencedError,
    OutcomeUnknownError,
    TransactionError,
    TransactionRefusedError,
)
from stream_qa.streaming.batches import Batches, Destination, Placed, Written
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.protocol import EndTxnRequest_v5, Exactly, ProduceRequest_v12

_log = logging.getLogger(__name__)

_NO_ERROR = 0
#: The producer epoch is not the newest: Kafka's INVALID_PRODUCER_EPOCH and PRODUCER_FENCED.
_FENCED = {47, 90}
#: CONCURRENT_TRANSACTIONS: the transaction before is still being ended; nothing was done.
_ENDING = 51
#: OPERATION_NOT_ATTEMPTED: another partition of the same request is the reason.
_NOT_ATTEMPTED = 55
#: Sizes, permissions, versions and timeouts that the broker will refuse again.
_REFUSED = {10, 18, 29, 31, 35, 42, 50, 53, 87}
_LAST_SEQUENCE = 2**31 - 1
_ALL_REPLICAS = -1
_PRODUCE_MILLISECONDS = 5_000
#: While a transaction is being ended: mostly that is a matter of a millisecond or two.
_FIRST_ENDING_SECONDS = 0.001
_LONGEST_ENDING_SECONDS = 0.1
#: Longer, and a partition that the transaction wrote to may have no leader: then it takes as long as that.
_LONG_ENDING_SECONDS = 1.0
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0

_channels = itertools.count()


class _Producer(NamedTuple):
    """What the coordinator has given to an id; a later one fences it."""

    coordinator: int
    producer_id: int
    epoch: int
    epoch_a_transaction: bool


class _Ending:
    """Waits between the attempts at a request that comes while the transaction before is still being ended."""

    def __init__(self, what: str, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._what = what
        self._sleep = sleep
        self._next = _FIRST_ENDING_SECONDS
        self._waited = 0.0

    async def wait(self) -> None:
        before, self._waited = self._waited, self._waited + self._next
        await self._sleep(self._next)
        self._next = min(2 * self._next, _LONGEST_ENDING_SECONDS)
        if before < _LONG_ENDING_SECONDS <= self._waited:
            _log.warning("%s: the transaction before is still being ended: trying again until it is", self._what)


class Transactions:
    """The transactions of one transactional id.

    Parameters
    ----------
    connections
        Shared with all others.
    transactional_id
        Whoever initialises it fences all that did before.
    timeout_seconds
        After this the broker ends a transaction that nobody ends.
    sleep
        Waits for so many seconds.
    """

    def __init__(
        self,
        connections: Connections,
        transactional_id: str,
        timeout_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connections = connections
        self.transactional_id = transactional_id
        self._timeout_milliseconds = int(timeout_seconds * 1000)
        self._sleep = sleep
        self._channel = next(_channels)
        self._producer: _Producer | None = None
        self._sequences: dict[Destination, int] = {}
        self._is_open = False

    async def initialise(self) -> None:
        """Fence all former owners of the id, and return when their last transaction has ended, one way or the other.

        While no broker answers it waits and tries again.

        Raises
        ------
        TransactionRefusedError
            The broker will never give it.
        """
        self._producer = None
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                self._producer = await self._initialise()
            except BrokerUnavailableError as error:
                _log.warning("%s: trying again in %.1f s: %s", self.transactional_id, wait, error)
                await self._sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            else:
                self._is_open = False
                self._sequences.clear()
                return

    async def write(self, batches: Batches) -> dict[Destination, Written]:
        """Write ``batches`` in the open transaction, which begins with this if there is none; return where they are.

        Raises
        ------
        FencedError
            Another has initialised the id: nothing of this is or will be in the log.
        OutcomeUnknownError
            It is not known what was written; it will not be committed. Initialise before the next.
        TransactionRefusedError
            The broker will never take it.
        """
        written: dict[Destination, Written] = {}
        with self._at_work() as producer:
            self._is_open = True
            if not producer.epoch_a_transaction:
                await self._add_partitions(producer, batches.destinations())
            for placed in batches.rounds():
                for destination, (first, last) in (await self._produce(producer, placed)).items():
                    before = written.get(destination)
                    written[destination] = Written(first if before is None else before.first, last)
        self._producer = producer
        return written

    async def commit(self) -> None:
        """Commit what was written.

        Raises
        ------
        FencedError
            Another has initialised the id: nothing of this is or will be in the log.
        OutcomeUnknownError
            It is not known whether it was committed: the log will say. Initialise before the next.
        """
        await self._close(commits=True)

    async def abort(self) -> None:
        """Take back what was written, if the broker can be told; else whoever initialises the id does so."""
        if self._producer is None or not self._is_open:
            return
        try:
            await self._close(commits=False)
        except TransactionError as error:
            _log.warning("%s: not taken back now: %s", self.transactional_id, error)

    async def _close(self, *, commits: bool) -> None:
        with self._at_work() as producer:
            after = await self._end(producer, commits=commits)
        self._producer, self._is_open = after, False

    @contextmanager
    def _at_work(self) -> Iterator[_Producer]:
        """Give what is to be written as; whatever interrupts it leaves the id to be initialised again."""
        producer, self._producer = self._producer, None
        if producer is None:
            raise OutcomeUnknownError(f"{self.transactional_id} is not initialised")
        try:
            yield producer
        except BrokerUnavailableError as error:
            self._connections.refresh()
            raise OutcomeUnknownError(f"{self.transactional_id}: {error}") from error

    async def _initialise(self) -> _Producer:
        await self._connections.start()
        coordinator = await self._connections.coordinator(self.transactional_id)
        epoch_a_transaction = await self._connections.has_epoch_a_transaction(coordinator)
        request = InitProducerIdRequest(self.transactional_id, self._timeout_milliseconds)
        ending = self._ending("InitProducerId")
        while (answer := await self._connections.send(coordinator, request, self._channel)).error_code == _ENDING:
            await ending.wait()
        if answer.error_code in _REFUSED:
            raise self._error("InitProducerId", answer.error_code)
        if answer.error_code != _NO_ERROR:
            raise BrokerUnavailableError(f"InitProducerId: {for_code(answer.error_code).__name__}")
        return _Producer(coordinator, answer.producer_id, answer.producer_epoch, epoch_a_transaction)

    async def _add_partitions(self, producer: _Producer, destinations: Sequence[Destination]) -> None:
        """Say what the transaction will write to; in the newer protocol writing says it."""
        request = AddPartitionsToTxnRequest(
            self.transactional_id, producer.producer_id, producer.epoch, _by_topic(destinations)
        )
        ending = self._ending("AddPartitionsToTxn")
        while True:
            answer = await self._connections.send(producer.coordinator, request, self._channel)
            codes = {code for _, partitions in answer.errors for _, code in partitions}
            if _ENDING not in codes:
                break
            await ending.wait()
        for code in codes - {_NO_ERROR, _NOT_ATTEMPTED}:
            raise self._error("AddPartitionsToTxn", code)

    async def _produce(self, producer: _Producer, placed: Sequence[Placed]) -> dict[Destination, Written]:
        """Write one batch to each of some partitions; return where its records are."""
        by_leader: defaultdict[int, dict[Destination, bytes]] = defaultdict(dict)
        for destination, batch in placed:
            leader = self._connections.leader(*destination)
            if leader is None:
                raise BrokerUnavailableError(f"nobody leads {destination[0]}-{destination[1]}")
            sequence = self._sequences.get(destination, 0)
            if sequence + batch.count > _LAST_SEQUENCE:
                raise OutcomeUnknownError(f"{self.transactional_id}: sequence numbers are used up; beginning anew")
            self._sequences[destination] = sequence + batch.count
            by_leader[leader][destination] = batch.finish(producer.producer_id, producer.epoch, sequence)
        bases: dict[Destination, int] = {}
        for written in await asyncio.gather(*(self._write(producer, node, sent) for node, sent in by_leader.items())):
            bases |= written
        return {
            destination: Written(bases[destination], bases[destination] + batch.count - 1)
            for destination, batch in placed
        }

    async def _write(self, producer: _Producer, node: int, batches: dict[Destination, bytes]) -> dict[Destination, int]:
        """Write to the partitions of one broker; return the offset of the first record of each."""
        bases: dict[Destination, int] = {}
        ending = self._ending("Produce")
        while len(bases) < len(batches):
            left = [destination for destination in batches if destination not in bases]
            answer = await self._connections.send(node, self._produce_request(producer, batches, left), self._channel)
            codes = {
                (topic, partition): (code, base)
                for topic, partitions, *_ in answer.topics
                for partition, code, base, *_ in partitions
            }
            for destination in left:
                code, base = codes[destination]
                if code == _NO_ERROR:
                    bases[destination] = base
                elif code != _ENDING:
                    raise self._error(f"Produce to {destination[0]}-{destination[1]}", code)
            if len(bases) < len(batches):
                await ending.wait()
        return bases

    def _produce_request(
        self, producer: _Producer, batches: dict[Destination, bytes], destinations: Iterable[Destination]
    ) -> "ProduceRequest | Exactly":
        by_topic: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for topic, partition in destinations:
            by_topic[topic].append((partition, batches[topic, partition]))
        if producer.epoch_a_transaction:
            topics: list[Any] = [
                (topic, [(number, data, {}) for number, data in partitions], {})
                for topic, partitions in by_topic.items()
            ]
            return Exactly(ProduceRequest_v12, self.transactional_id, _ALL_REPLICAS, _PRODUCE_MILLISECONDS, topics, {})
        return ProduceRequest(self.transactional_id, _ALL_REPLICAS, _PRODUCE_MILLISECONDS, list(by_topic.items()))

    async def _end(self, producer: _Producer, *, commits: bool) -> _Producer:
        """Commit or abort; return what the next transaction is to be written as."""
        ours = (self.transactional_id, producer.producer_id, producer.epoch, commits)
        request = Exactly(EndTxnRequest_v5, *ours, {}) if producer.epoch_a_transaction else EndTxnRequest(*ours)
        ending = self._ending("EndTxn")
        while (
            answer := await self._connections.send(producer.coordinator, request, self._channel)
        ).error_code == _ENDING:
            await ending.wait()
        if answer.error_code != _NO_ERROR:
            raise self._error("EndTxn", answer.error_code)
        if not producer.epoch_a_transaction:
            return producer
        self._sequences.clear()
        return producer._replace(producer_id=answer.producer_id, epoch=answer.producer_epoch)

    def _ending(self, what: str) -> "_Ending":
        return _Ending(f"{self.transactional_id}: {what}", self._sleep)

    def _error(self, what: str, code: int) -> TransactionError:
        reason = f"{self.transactional_id}: {what}: {for_code(code).__name__} (Kafka's error {code})"
        if code in _FENCED:
            return FencedError(reason)
        if code in _REFUSED:
            return TransactionRefusedError(reason)
        self._connections.refresh()
        return OutcomeUnknownError(reason)


def _by_topic(destinations: Iterable[Destination]) -> list[tuple[str, list[int]]]:
    partitions: defaultdict[str, list[int]] = defaultdict(list)
    for topic, partition in destinations:
        partitions[topic].append(partition)
    return list(partitions.items())
