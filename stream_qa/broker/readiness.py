"""Whether a broker answers. A TCP connection says too little: Kafka listens long before it serves."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_qa.errors import BrokerUnavailableError


def cluster_id(bootstrap: str, seconds: float = 5.0) -> str:
    """Ask a broker for the id of its cluster.

    Parameters
    ----------
    bootstrap
        ``host:port`` of the broker.
    seconds
        How long it may take to answer.

    Raises
    ------
    BrokerUnavailableError
        It did not answer.
    """
    host, _, port = bootstrap.rpartition(":")
    try:
        # aiokafka logs an error for each refused connection, so it is asked only once something listens.
        with socket.create_connection((host, int(port)), timeout=seconds):
            pass
        # A thread of its own, because the caller may be inside a running event loop.
        with ThreadPoolExecutor(max_workers=1) as executor:
            return executor.submit(
                lambda: asyncio.run(asyncio.wait_for(_describe(bootstrap, seconds), seconds))
            ).result()
    except (OSError, KafkaError) as error:  # the built-in TimeoutError is an OSError
        raise BrokerUnavailableError(f"No broker answers at {bootstrap}: {error or type(error).__name__}") from error


async def _describe(bootstrap: str, seconds: float) -> str:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(seconds * 1_000))
    try:
        await client.start()
        return str((await client.describe_cluster())["cluster_id"])
    finally:
        await client.close()
