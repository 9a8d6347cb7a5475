"""A second broker, as clusters are that have not moved to the newest transactions."""

from collections.abc import Iterator

import pytest

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.ports import free_port


@pytest.fixture(scope="session")
def classic_broker(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: ARG001 # skips where it does
    """Give the address of a broker without an epoch for every transaction."""
    classic = DevelopmentBroker(
        tmp_path_factory.mktemp("classic-broker"), free_port(), features={"transaction.version": 1}
    )
    classic.up()
    try:
        yield classic.bootstrap
    finally:
        classic.down()


@pytest.fixture(params=["epoch-a-transaction", "classic"])
def any_broker(request: pytest.FixtureRequest) -> str:
    """Give the address of a broker of each of the two protocols for transactions."""
    name = "broker" if request.param == "epoch-a-transaction" else "classic_broker"
    address: str = request.getfixturevalue(name)
    return address
