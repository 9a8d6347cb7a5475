"""The broker of docker-compose.yml, run as that file says, but on a port of its own."""

import asyncio
import gc
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from stream_qa.errors import BrokerUnavailableError
from stream_qa.kafka_access import KafkaAccess
from stream_qa.topics import Action, apply, compare, load_declarations, partition_counts

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
START_SECONDS = 120
HOST_PORT = 9092

pytestmark = pytest.mark.containers


def engine_answers() -> bool:
    # The client leaves its socket to the garbage collector where it cannot connect.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            engine = DockerClient().client
            engine.ping()
        # What an absent engine raises is its client's business; the errors share no base of their own.
        except Exception:  # noqa: BLE001
            answered = False
        else:
            engine.close()
            answered = True
        gc.collect()
    return answered


@pytest.fixture
def container_broker(unused_tcp_port: int) -> Iterator[str]:
    """Give the address of a broker in a container; skip where no engine answers."""
    if not engine_answers():
        pytest.skip("no container engine answers")
    kafka = yaml.safe_load(COMPOSE.read_text())["services"]["kafka"]
    address = f"127.0.0.1:{unused_tcp_port}"
    variables = kafka["environment"]
    variables["KAFKA_ADVERTISED_LISTENERS"] = variables["KAFKA_ADVERTISED_LISTENERS"].replace(
        f"127.0.0.1:{HOST_PORT}", address
    )
    container = DockerContainer(kafka["image"], env=variables, hostname=kafka["hostname"])
    container.ports[str(HOST_PORT)] = ("127.0.0.1", unused_tcp_port)
    with container:
        yield address


async def answers(broker: str) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            with suppress(BrokerUnavailableError):
                await partition_counts(KafkaAccess((broker,)), [])
                return
            # A refused connection is told at once: this is the pause between two tries, not the wait itself.
            await asyncio.sleep(0.2)


async def test_topics_are_applied_to_a_broker_in_a_container(container_broker: str) -> None:
    await answers(container_broker)
    plan = await apply(KafkaAccess((container_broker,)))
    assert len(plan.having(Action.CREATE)) == len(plan.topics) == len(load_declarations())
    assert not (await compare(KafkaAccess((container_broker,)))).pending
    counts = await partition_counts(KafkaAccess((container_broker,)), ["applications", "dead-letters", "nonsense"])
    assert counts == {"applications": 4, "dead-letters": 1, "nonsense": None}
