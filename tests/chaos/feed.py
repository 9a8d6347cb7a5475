"""The producer: goes on at its pace whatever happens, loses nothing, and may send a few messages twice."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from chaos.log import BAD, Delivery
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming.partitioner import partition_of

_TICK_SECONDS = 0.02
_RETRY_SECONDS = 0.2
_DISCONNECT_SECONDS = 2.0


class Feed:
    """Delivers a log at a steady rate until it is told to stop.

    Parameters
    ----------
    kafka
        Addresses of brokers.
    deliveries
        The log; long enough for the time that it is needed.
    rate
        Deliveries a second.
    partitions
        How many the input topics have.
    """

    def __init__(self, kafka: KafkaAccess, deliveries: Sequence[Delivery], rate: float, partitions: int) -> None:
        self._kafka = kafka
        self._deliveries = deliveries
        self._rate = rate
        self._partitions = partitions
        self._producer: AIOKafkaProducer | None = None
        self.sent = 0
        """How many of the deliveries, from the first on, the broker has for certain."""
        self.retries = 0
        """How often some of them were sent again, because the broker may not have had them."""

    @property
    def delivered(self) -> Sequence[Delivery]:
        """What the broker has."""
        return self._deliveries[: self.sent]

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set.

        Raises
        ------
        RuntimeError
            The log is over before.
        """
        started = time.monotonic()
        try:
            while not stop.is_set():
                due = int((time.monotonic() - started) * self._rate)
                await self._deliver(self._deliveries[self.sent : due])
                if self.sent == len(self._deliveries):
                    raise RuntimeError(f"the log of {self.sent} deliveries is too short for these faults")
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            await self._disconnect()

    async def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Return when the broker has them all, each partition's in their order."""
        while deliveries:
            try:
                producer = await self._connected()
                # What fails is waited for as well: then nothing is under way when it is sent again.
                answers = await asyncio.gather(
                    *[await self._send(producer, delivery) for delivery in deliveries], return_exceptions=True
                )
            except (KafkaError, OSError) as error:
                answers = [error]
            if not any(isinstance(answer, BaseException) for answer in answers):
                self.sent += len(deliveries)
                return
            self.retries += 1
            await self._disconnect()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _send(self, producer: AIOKafkaProducer, delivery: Delivery) -> "asyncio.Future[object]":
        future: asyncio.Future[object] = await producer.send(
            delivery.topic,
            key=delivery.key,
            value=delivery.value,
            partition=partition_of(delivery.key, self._partitions),
            headers=[] if delivery.bad is None else [(BAD, delivery.bad.encode())],
        )
        return future

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(**self._kafka.options(), enable_idempotence=True, linger_ms=5)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _disconnect(self) -> None:
        if self._producer is not None:
            # Without a broker it would wait for what it can no longer deliver.
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(self._producer.stop(), _DISCONNECT_SECONDS)
            self._producer = None
