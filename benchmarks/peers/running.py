"""A side as a process of its own: begun, waited for, measured, ended."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from peers.sides import Place, Side

START_SECONDS = 90.0
END_SECONDS = 20.0
LOOK_UP_SECONDS = 0.05
LOG_LINES = 15
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_STABLE = "Stable"


class SideFailedError(Exception):
    """A side did not do what the pipeline is; the message ends with its log's last lines."""


class Used(NamedTuple):
    """What a process and its descendants have used up to a moment."""

    cpu: float
    """Seconds, user and system."""
    at: float
    """Seconds, of the monotonic clock."""


class Running:
    """The process of a side."""

    def __init__(self, side: Side, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.side = side
        self._process = process
        self._log = log

    def used(self) -> Used:
        """Return what the process tree has used so far."""
        return Used(tree_cpu_seconds(self._process.pid), time.monotonic())

    def most_resident_megabytes(self) -> float:
        """Return the most memory that the process has had resident at one time."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def check(self) -> None:
        """See that it runs.

        Raises
        ------
        SideFailedError
            It has ended.
        """
        if self._process.poll() is not None:
            raise self.failure(f"it has ended with code {self._process.returncode}")

    def failure(self, reason: str) -> SideFailedError:
        """Return the error to raise, with the end of the log."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return SideFailedError("\n".join([f"{self.side.name}: {reason}; its log ends with", *lines]))


@asynccontextmanager
async def running(side: Side, place: Place) -> AsyncIterator[Running]:
    """Run a side; it has its partitions when the context is entered, and is gone when it is left."""
    place.directory.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **side.environment(place)}
    with place.log.open("wb") as stream:
        process = subprocess.Popen(
            side.command(), env=environment, cwd=place.directory, stdout=stream, stderr=stream, start_new_session=True
        )
    run = Running(side, process, place.log)
    try:
        await _until_assigned(run, place)
        yield run
    finally:
        await _end(process)


async def _until_assigned(run: Running, place: Place) -> None:
    """Wait until the broker says that the group is there and has its partitions: the same moment for all sides."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.broker)
    await admin.start()
    deadline = time.monotonic() + START_SECONDS
    try:
        while await _state(admin, place.group) != _STABLE:
            run.check()
            if time.monotonic() > deadline:
                raise run.failure(f"it has not joined its group within {START_SECONDS:.0f} s")
            await asyncio.sleep(LOOK_UP_SECONDS)
    finally:
        await admin.close()


async def _state(admin: AIOKafkaAdminClient, group: str) -> str:
    # The first group of a broker makes it set up what keeps groups.
    with suppress(KafkaError):
        for response in await admin.describe_consumer_groups([group]):
            for _error, name, state, *_ in response.groups:
                if name == group:
                    return str(state)
    return ""


async def _end(process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + END_SECONDS
    process.terminate()
    while process.poll() is None and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_UP_SECONDS)
    # What it may have started is in its session too.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tree_cpu_seconds(root: int) -> float:
    """Return the CPU seconds, user and system, of a process, its descendants, and those of them that have ended."""
    used: dict[int, int] = {}
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        # It may have ended meanwhile.
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            pid = int(path.parent.name)
            parents[pid] = int(fields[1])
            used[pid] = sum(map(int, fields[11:15]))
    tree = {root}
    while found := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= found
    return sum(used.get(pid, 0) for pid in tree) / _TICKS_A_SECOND
