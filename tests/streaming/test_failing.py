"""What a worker says when it ends."""

import logging
import os

import pytest
from aiokafka.errors import KafkaError

from stream_qa.errors import InstanceIdError
from stream_qa.streaming.worker import EXIT_FAILED, fail


def because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InstanceIdError("the name is taken"), "the worker stops: InstanceIdError: the name is taken"),
        (because(KafkaError("in a task"), InstanceIdError("taken")), "the worker stops: InstanceIdError: taken"),
        (KafkaError("gone"), "the worker stops on an error of the broker: KafkaError('gone')"),
        (because(KafkaError("a"), OSError("b")), "the worker stops on an error of the broker: KafkaError('a')"),
        (ValueError("of ours"), "the worker stops on a bug; this chunk will be read again"),
    ],
)
def test_it_says_whose_the_error_is(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    fail(error)
    assert codes == [EXIT_FAILED]
    assert caplog.messages == [said]
