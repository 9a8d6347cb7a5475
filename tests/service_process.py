"""The scoring service as a process on a ground's topics."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import httpx
import pytest
from ground import PROGRAM, Ground
from ports import free_port

#: Leaves the processor to those who are waited for.
POLL_SECONDS = 0.05
#: In which programs end. The default of those who end others is longer: Kubernetes kills after 30 seconds.
END_SECONDS = 25

#: In which a service answers.
ANSWER_SECONDS = 60

_number = count()


@contextmanager
def service(ground: Ground, ends_by: signal.Signals = signal.SIGTERM, /, **settings: str) -> Iterator[httpx.Client]:
    """Run ``stream-qa serve`` until the context is left, and check that it ends in order."""
    port = free_port()
    environment = {
        "PYTHONFAULTHANDLER": "1",
        "STREAM_QA_SERVE_PORT": str(port),
        "STREAM_QA_SERVE_STORE": str(ground.directory / "store"),
        # Beside brokers and workers it may wait for the processor.
        "STREAM_QA_SERVE_LOOK_UP_SECONDS": str(ANSWER_SECONDS),
        **settings,
    }
    name = f"service-{next(_number)}"
    process = ground.run(name, *PROGRAM, "serve", **environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_SECONDS) as client:
            while ready(client) is None:
                time.sleep(POLL_SECONDS)
                assert process.poll() is None, ground.log_of(name).read_text()
            yield client
        process.send_signal(ends_by)
        try:
            assert process.wait(END_SECONDS) == 0, ground.log_of(name).read_text()
        except subprocess.TimeoutExpired:
            # Says where each thread is.
            process.send_signal(signal.SIGABRT)
            process.wait()
            pytest.fail(f"the service does not end: {ground.log_of(name).read_text()}")
        assert "Traceback" not in ground.log_of(name).read_text()
    finally:
        process.kill()
        process.wait()


def asker(client: httpx.Client) -> httpx.Client:
    """Return another client of the service, for a thread that asks again and again.

    It makes a connection for each request: one that is kept may be closed by the service just when it is used again.
    """
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=client.base_url, limits=limits, timeout=ANSWER_SECONDS)


def ready(client: httpx.Client) -> bool | None:
    """Return whether it is ready; ``None`` where it does not answer."""
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return None
