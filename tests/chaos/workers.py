"""Places where workers run: a process that ends is begun again, as whatever runs workers in production would do."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

_LOOK_UP_SECONDS = 0.02
_END_SECONDS = 30.0
_TESTS = Path(__file__).parents[1]
WORKER = (sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker", "-l", "info")
FAULTY_WORKER = (sys.executable, "-m", "faust", "-A", "chaos.faulty_app", "worker", "-l", "info")
READY = "ready: partitions "
_READY_FOR = re.compile(rf"{READY}(\[[^\]]*\])")


class WorkerPlace:
    """A worker's data directory, and the processes that follow each other in it.

    Parameters
    ----------
    name
        Of its directory and its logs.
    directory
        Where both are.
    environment
        The worker's settings.
    command
        What runs it.
    """

    def __init__(
        self, name: str, directory: Path, environment: Mapping[str, str], command: Sequence[str] = FAULTY_WORKER
    ) -> None:
        self.name = name
        self.data_directory = directory / name
        self.orders = directory / f"{name}-orders"
        """Where the process looks for the instant at which it is to strike itself."""
        self.orders.mkdir(parents=True)
        self.wanted = False
        self.exits: list[int] = []
        """The codes of its processes that have ended; below 0 the signal."""
        self.asked_exits: list[int] = []
        """Those of processes that were asked to end when they were ready: before, a signal just ends them."""
        self.longest_end = 0.0
        """Seconds that a process took at most to end when it was asked to."""
        self._directory = directory
        self._environment = environment
        self._command = command
        self._processes: Iterator[int] = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / f"{name}-0.log"

    def __str__(self) -> str:
        return self.name

    @property
    def runs(self) -> bool:
        """Whether a process is there."""
        return self._process is not None

    def start(self) -> None:
        """Begin a process, and another one whenever it ends."""
        self.wanted = True
        self.keep_running()

    def keep_running(self) -> None:
        """Take note of a process that has ended, and begin the next one where it is wanted."""
        if self._process is not None and (code := self._process.poll()) is not None:
            self.exits.append(code)
            self._process = None
        if self.wanted and self._process is None:
            self.log = self._directory / f"{self.name}-{next(self._processes)}.log"
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    env={
                        **os.environ,
                        "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")]),
                        "STREAM_QA_DATA_DIRECTORY": str(self.data_directory),
                        "STREAM_QA_WEB_ENABLED": "false",
                        "CHAOS_ORDERS": str(self.orders),
                        **self._environment,
                    },
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None:
            self._process.send_signal(number)

    async def kill(self, *, wanted: bool = True, wipe: bool = False) -> None:
        """Kill the process and wait until it is gone; delete what it has kept where ``wipe`` says so."""
        self.wanted = False
        self.send(signal.SIGKILL)
        await self._ended()
        if wipe:
            shutil.rmtree(self.data_directory, ignore_errors=True)
        self.wanted = wanted

    async def terminate(self, *, wanted: bool) -> None:
        """Ask the process to end, and wait for that. It is killed where it takes too long."""
        self.wanted = False
        started = time.monotonic()
        was_ready = self.runs and READY in self.log.read_text(errors="replace")
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended(), _END_SECONDS)
        except TimeoutError:
            await self.kill()
        if was_ready:
            self.asked_exits.append(self.exits[-1])
        self.wanted = wanted
        self.longest_end = max(self.longest_end, time.monotonic() - started)

    async def _ended(self) -> None:
        while self.runs:
            self.keep_running()
            await asyncio.sleep(_LOOK_UP_SECONDS)

    async def says(self, text: str, seconds: float) -> bool:
        """Wait until the log of the process that runs then has a text; return whether it has."""
        deadline = time.monotonic() + seconds
        while not (self.runs and text in self.log.read_text(errors="replace")):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_UP_SECONDS)
        return True

    def partitions(self) -> set[int]:
        """Return the partitions that the process has said last to be ready for."""
        said = _READY_FOR.findall(self.log.read_text(errors="replace")) if self.runs else []
        return set(json.loads(said[-1])) if said else set()

    def order(self, instant: str, number: signal.Signals, after: int) -> None:
        """Let the process strike itself with a signal when it has passed an instant ``after`` times."""
        waiting = self.orders / "new"
        waiting.write_text(f"{instant} {int(number)} {after}")
        waiting.rename(self.orders / "strike")

    async def struck(self, seconds: float) -> bool:
        """Wait until the order has been carried out; return whether it was, and take it back where not."""
        struck = self.orders / "struck"
        deadline = time.monotonic() + seconds
        while not struck.exists():
            if time.monotonic() > deadline:
                (self.orders / "strike").unlink(missing_ok=True)
                return False
            await asyncio.sleep(_LOOK_UP_SECONDS)
        struck.unlink()
        return True

    def log_tail(self, lines: int = 5) -> str:
        """Return the last lines of the newest log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


async def supervise(places: list[WorkerPlace]) -> None:
    """Begin again every process that has ended and is wanted, until cancelled."""
    while True:
        for place in places:
            place.keep_running()
        await asyncio.sleep(_LOOK_UP_SECONDS)
