"""Connections to the brokers that all transactions of a worker share."""

import asyncio
import logging
from collections.abc import Iterable
from io import BytesIO
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError, TransactionalIdAuthorizationFailed
from aiokafka.protocol.api import Request
from aiokafka.protocol.types import CompactArray, CompactString, Int16, TaggedFields

from stream_qa import __version__
from stream_qa.errors import BrokerUnavailableError, TransactionRefusedError
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming.protocol import (
    ApiVersionsRequest_v3,
    EndTxnRequest_v5,
    Exactly,
    MetadataRequest_v12,
    ProduceRequest_v12,
)
from stream_qa.topics import why_unavailable

_log = logging.getLogger(__name__)

#: A broker answers the requests of one connection one after the other; more of them let transactions overlap.
CONNECTIONS = 4
_REQUEST_MILLISECONDS = 10_000
_SOFTWARE = "stream-qa"
_TRANSACTION_FEATURE = "transaction.version"
_EPOCH_A_TRANSACTION = 2
#: The place of the finalised features among the tagged fields of an answer about versions.
_FINALISED_FEATURES = 2
_FEATURES = CompactArray(
    ("name", CompactString("utf-8")), ("max_version", Int16), ("min_version", Int16), ("tags", TaggedFields)
)
_NO_ID = bytes(16)
#: What a client can raise when the connection or the broker goes away under it.
_GONE = (KafkaError, OSError, TimeoutError, KeyError)


class Connections:
    """Sends requests, each once.

    Parameters
    ----------
    kafka
        Where the brokers are.
    client_id
        What the broker's log calls us.
    topics
        Those whose leaders must be known.
    """

    def __init__(self, kafka: KafkaAccess, client_id: str, topics: Iterable[str]) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._topics = list(topics)
        self._client: AIOKafkaClient | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Connect; again is fine.

        Raises
        ------
        BrokerUnavailableError
            No broker answers, or it and this program do not accept each other.
        """
        async with self._starting:
            if self._client is not None:
                return
            client = AIOKafkaClient(
                **self._kafka.options(),
                client_id=self._client_id,
                request_timeout_ms=_REQUEST_MILLISECONDS,
            )
            try:
                await client.bootstrap()
                await client.set_topics(self._topics)
            except BaseException as error:
                await client.close()
                if isinstance(error, _GONE):
                    raise await why_unavailable(self._kafka) from error
                raise
            self._client = client

    async def stop(self) -> None:
        """Disconnect."""
        async with self._starting:
            if self._client is not None:
                await self._client.close()
                self._client = None

    async def send(self, node: int, request: Request[Any], channel: int = 0) -> Any:  # noqa: ANN401 # one of many answers
        """Send a request to a broker once and return its answer.

        Raises
        ------
        BrokerUnavailableError
            There is no answer; whether the broker has done it is not known.
        """
        try:
            return await self._connected().send(node, request, group=channel % CONNECTIONS)
        except _GONE as error:
            raise BrokerUnavailableError(f"{type(request).__name__} to broker {node}: {error!r}") from error

    async def coordinator(self, transactional_id: str) -> int:
        """Return the broker that coordinates the transactions of an id.

        Raises
        ------
        BrokerUnavailableError
            None does now.
        TransactionRefusedError
            This program may not use the id.
        """
        client = self._connected()
        try:
            return cast("int", await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id))
        except TransactionalIdAuthorizationFailed as error:
            raise TransactionRefusedError(f"{transactional_id}: the broker does not allow it to us") from error
        except (*_GONE, AssertionError) as error:
            self.refresh()
            raise BrokerUnavailableError(f"nobody coordinates {transactional_id}: {error!r}") from error

    def leader(self, topic: str, partition: int) -> int | None:
        """Return the broker that leads a partition, as far as is known."""
        node = self._connected().cluster.leader_for_partition(TopicPartition(topic, partition))
        return None if node is None or node < 0 else cast("int", node)

    def refresh(self) -> None:
        """Look at who leads what again, soon."""
        self._connected().force_metadata_update()

    async def has_epoch_a_transaction(self, node: int) -> bool:
        """Whether the cluster gives every transaction an epoch of its own (KIP-890)."""
        try:
            answer = await self.send(node, Exactly(ApiVersionsRequest_v3, _SOFTWARE, __version__, {}))
        except NotImplementedError:
            return False
        newest = {api: most for api, _, most, _ in answer.api_versions}
        spoken = all(newest.get(r.API_KEY, -1) >= r.API_VERSION for r in (ProduceRequest_v12, EndTxnRequest_v5))
        finalised = answer.tags.get(_FINALISED_FEATURES)
        features = (
            {} if finalised is None else {name: most for name, most, _, _ in _FEATURES.decode(BytesIO(finalised))}
        )
        return spoken and features.get(_TRANSACTION_FEATURE, 0) >= _EPOCH_A_TRANSACTION

    async def topic_ids(self) -> dict[str, bytes]:
        """Return the id of each topic, which another topic of the same name would not have; none on old brokers.

        Raises
        ------
        BrokerUnavailableError
            No broker answers.
        """
        node = self._connected().get_random_node()
        topics: list[tuple[bytes, str, dict[int, bytes]]] = [(_NO_ID, topic, {}) for topic in self._topics]
        try:
            answer = await self.send(node, Exactly(MetadataRequest_v12, topics, False, False, {}))  # noqa: FBT003
        except NotImplementedError:
            return {}
        return {name: topic_id for _, name, topic_id, *_ in answer.topics if topic_id != _NO_ID}

    def _connected(self) -> AIOKafkaClient:
        if self._client is None:
            raise BrokerUnavailableError("not connected")
        return self._client
