"""The broker that the chaos suite breaks: one of its own."""

from collections.abc import Iterator

import pytest

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.java import java_with_kafka
from stream_qa.broker.ports import free_port
from stream_qa.errors import BrokerStartError


@pytest.fixture(scope="package")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentBroker]:
    """Give a broker that may be stopped and killed."""
    try:
        java_with_kafka(lambda _: None)
    except BrokerStartError as error:
        pytest.skip(str(error))
    broker = DevelopmentBroker(tmp_path_factory.mktemp("chaos") / "broker", free_port())
    broker.up()
    try:
        yield broker
    finally:
        broker.down()
