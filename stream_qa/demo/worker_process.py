"""A worker as a process of its own, begun and ended."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stream_qa.errors import WorkerStartError

_LOOK_UP_SECONDS = 0.1
_END_SECONDS = 15
_READY = "Worker ready"


@contextmanager
def worker_process(
    environment: Mapping[str, str], log: Path, start_seconds: float = 60
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``faust -A stream_qa.app worker`` with ``environment`` on top of ours, logging to ``log``.

    It has its partitions when the context is entered, and is gone when it is left.

    Raises
    ------
    WorkerStartError
        It ended, or did not become ready in time.
    """
    command = [sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker", "-l", "info"]
    with log.open("wb") as stream:
        # A session of its own: a Ctrl-C in the terminal is for us, who then end it in order.
        process = subprocess.Popen(  # noqa: S603
            command, env={**os.environ, **environment}, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        _wait_until_ready(process, log, time.monotonic() + start_seconds)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Whether it took too long or a second Ctrl-C came: nothing is left running.
            process.kill()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path, deadline: float) -> None:
    while _READY not in log.read_text(errors="replace"):
        if process.poll() is not None:
            raise WorkerStartError(f"the worker ended with code {process.returncode}; its log is {log}")
        if time.monotonic() > deadline:
            raise WorkerStartError(f"the worker did not become ready; its log is {log}")
        time.sleep(_LOOK_UP_SECONDS)
