"""The brokers that the chaos suite breaks: its own."""

from collections.abc import Iterator

import pytest

from chaos.brokers import Brokers
from stream_qa.broker.java import java_with_kafka
from stream_qa.errors import BrokerStartError


@pytest.fixture(scope="package")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """Give brokers that may be stopped and killed."""
    try:
        java_with_kafka(lambda _: None)
    except BrokerStartError as error:
        pytest.skip(str(error))
    with Brokers(tmp_path_factory.mktemp("brokers")) as brokers:
        yield brokers
