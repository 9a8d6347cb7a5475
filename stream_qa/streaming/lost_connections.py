"""Writing to a connection that was just lost is an error of the connection, on uvloop as on any other loop."""

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def _send_or_say_so(self: Any, request: Any, expect_response: bool = True) -> Any:  # noqa: ANN401 # the library's own
    try:
        return _send(self, request, expect_response)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"connection to {self.host}:{self.port} lost: {error}") from error


def expect_lost_connections() -> None:
    """Let aiokafka's connections raise their own error where uvloop raises ``RuntimeError``.

    Between the loss of a connection and the moment when aiokafka's reader has noticed, it still writes to it. asyncio
    then raises ``OSError`` or nothing, for which it is prepared; on uvloop its fetcher or its metadata task would end
    for good, and the worker would live on and do nothing.
    """
    AIOKafkaConnection.send = _send_or_say_so
