"""A real Redis or Valkey on loopback, which tests may stop and start."""

import subprocess
import time
from pathlib import Path

import redis

START_SECONDS = 20
LOOK_AGAIN_SECONDS = 0.02


class RedisServer:
    """Keeps nothing on disk: what it had is gone when it stops."""

    def __init__(self, program: str, directory: Path, port: int) -> None:
        self.program = program
        self._command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory), "--save", ""]
        self.url = f"redis://127.0.0.1:{port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert self._process.poll() is None, "the server has ended"
                    assert time.monotonic() < deadline, "the server does not answer"
                    time.sleep(LOOK_AGAIN_SECONDS)
                else:
                    return

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
