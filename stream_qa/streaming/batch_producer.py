"""Messages to the broker, a batch a partition at a time, acknowledged before anything goes on."""

import time
from asyncio import Future
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

from aiokafka import AIOKafkaProducer

from stream_qa.errors import StateError
from stream_qa.events import Headers

Destination = tuple[str, int]
"""A topic and a partition of it."""

Entry = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers of a message to a destination: a commit has thousands, so no more than a tuple."""

#: Below the broker's default limit for a batch, so that many messages never add up to one that is refused.
_BATCH_BYTES = 900_000
#: A single large message, wrapped as a dead letter, may go over the batch size.
_REQUEST_BYTES = 4_000_000


class BatchProducer:
    """An idempotent producer that returns only when the broker has everything."""

    def __init__(self, bootstrap_servers: Sequence[str], client_id: str) -> None:
        self._bootstrap_servers = list(bootstrap_servers)
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect; again is fine."""
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                client_id=self._client_id,
                enable_idempotence=True,
                max_batch_size=_BATCH_BYTES,
                max_request_size=_REQUEST_BYTES,
            )
            await self._producer.start()

    async def stop(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def send(self, messages: Mapping[Destination, Sequence[Entry]]) -> dict[Destination, int]:
        """Send messages, in order within each destination; return the offset of the last one of each.

        Raises
        ------
        aiokafka.errors.KafkaError
            The broker did not take all of them; some may be in the log.
        """
        last: dict[Destination, int] = {}
        # Every batch is handed over before the first is waited for.
        pending = [
            (destination, count, future)
            for destination, batch in messages.items()
            for count, future in await self._send_batches(destination, batch)
        ]
        for destination, count, future in pending:
            metadata = await future
            last[destination] = metadata.offset + count - 1
        return last

    async def _send_batches(self, destination: Destination, entries: Sequence[Entry]) -> list[tuple[int, Future[Any]]]:
        if self._producer is None:
            raise StateError("the producer has not been started")
        topic, partition = destination
        sent = []
        position = 0
        now = round(time.time() * 1000)
        while position < len(entries):
            batch = self._producer.create_batch()
            count = 0
            for key, value, headers in islice(entries, position, None):
                if batch.append(timestamp=now, key=key, value=value, headers=headers or []) is None:
                    break
                count += 1
            batch.close()
            future = await self._producer.send_batch(batch, topic, partition=partition)
            sent.append((count, cast("Future[Any]", future)))
            position += count
        return sent
