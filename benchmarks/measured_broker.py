"""The broker of a benchmark."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.ports import free_port


@contextmanager
def measured_broker(
    directory: Path, properties: Mapping[str, str] = MappingProxyType({})
) -> Iterator[DevelopmentBroker]:
    """Run a new broker on a free port, whose Java runtime compiles as one in use does: well, though not at once.

    Parameters
    ----------
    directory
        Where it keeps everything.
    properties
        Kafka's, beside those of a development broker.
    """
    broker = DevelopmentBroker(directory, free_port(), more_properties=properties, java_options=())
    broker.up()
    try:
        yield broker
    finally:
        broker.down()
