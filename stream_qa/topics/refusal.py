"""Why no broker can be used: the client library says only that it could not connect."""

import asyncio
import ssl

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream_qa.errors import BrokerAccessError, BrokerUnavailableError
from stream_qa.kafka_access import KafkaAccess

_ANSWER_SECONDS = 3.0
_HINT = "check STREAM_QA_BROKER and that the broker runs"


async def refusal(kafka: KafkaAccess) -> BrokerUnavailableError | None:
    """Return what stands between this program and the brokers; ``None`` where one of them answers now.

    One connection is made to each address.

    Raises
    ------
    SettingsError
        A file of the settings cannot be read, or is not what it must be.
    """
    hint = _HINT
    for address in kafka.addresses:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await _ask(kafka, address)
        except (KafkaError, OSError) as error:  # the built-in TimeoutError is an OSError
            sentence = _sentence(kafka, address, error)
            if sentence is not None:
                return BrokerAccessError(sentence)
            if _was_closed(error):
                hint = f"it closes connections: does its listener speak STREAM_QA_SECURITY_PROTOCOL={kafka.protocol}?"
        else:
            return None
    return _unavailable(kafka, hint)


async def why_unavailable(kafka: KafkaAccess) -> BrokerUnavailableError:
    """Return why the brokers have not done what they were asked to; that they do not answer where it is not known.

    Raises
    ------
    SettingsError
        As :func:`refusal`.
    """
    return await refusal(kafka) or _unavailable(kafka, _HINT)


def _unavailable(kafka: KafkaAccess, hint: str) -> BrokerUnavailableError:
    return BrokerUnavailableError(f"no Kafka broker answers at {', '.join(kafka.addresses)}; {hint}")


async def _ask(kafka: KafkaAccess, address: str) -> None:
    host, _, port = address.rpartition(":")
    connection: AIOKafkaConnection = await create_conn(
        host, int(port), request_timeout_ms=int(_ANSWER_SECONDS * 1000), **kafka.connection_options()
    )
    try:
        # The first request that a listener with SASL answers only to those who said who they are.
        await connection.send(MetadataRequest([]))
    finally:
        connection.close()


def _sentence(kafka: KafkaAccess, address: str, error: BaseException) -> str | None:
    """Say what an error means if one of the two did not want the other; ``None`` where it may just be away."""
    if isinstance(error, KafkaConnectionError) and error.__cause__ is not None:
        error = error.__cause__
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate of the Kafka broker at {address} is not trusted: {error.verify_message.rstrip('.')}; "
                "check STREAM_QA_TLS_CA, and the certificate itself"
            )
        case ssl.SSLEOFError():
            return None
        case ssl.SSLError():
            return (
                f"the Kafka broker at {address} refuses TLS: {(error.reason or str(error)).replace('_', ' ').lower()}; "
                f"check STREAM_QA_SECURITY_PROTOCOL={kafka.protocol}, STREAM_QA_TLS_CERTIFICATE and STREAM_QA_TLS_KEY"
            )
        case SaslAuthenticationFailed():
            return (
                f"the Kafka broker at {address} refuses user {kafka.username} by {kafka.mechanism}: "
                "check STREAM_QA_SASL_USERNAME and the password"
            )
        case UnsupportedSaslMechanismError() | IllegalSaslStateError():
            return (
                f"the Kafka broker at {address} does not take STREAM_QA_SASL_MECHANISM={kafka.mechanism} with "
                f"STREAM_QA_SECURITY_PROTOCOL={kafka.protocol}"
            )
        case _:
            return None


def _was_closed(error: BaseException) -> bool:
    if isinstance(error, KafkaConnectionError):
        return True
    return isinstance(error, ssl.SSLEOFError | ConnectionResetError | ConnectionAbortedError)
