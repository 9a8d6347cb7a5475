"""Processes that outlive the one which started them, found again by pid and by an argument that only they have."""

import os
import signal
import subprocess
import time
from pathlib import Path

POLL_SECONDS = 0.05

# Those that this process started, to collect their exit status: an ended child stays a zombie until that is done.
_children: dict[int, subprocess.Popen[bytes]] = {}


def start(command: list[str], directory: Path, log: Path) -> int:
    """Start a process in a session of its own, so that it does not end with the terminal, and give its pid."""
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - the command is the Java runtime and our own arguments
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    return child.pid


def is_running(pid: int, argument: str) -> bool:
    """Whether this pid is alive and has this argument: a pid alone may by now be anyone's."""
    return _is_running_child(pid) or _has_argument(pid, argument)


def wait_until_ended(pid: int, argument: str, seconds: float) -> bool:
    """Wait for a process to end; False if it still runs after that time."""
    deadline = time.monotonic() + seconds
    while is_running(pid, argument) or _is_ending(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def send(pid: int, argument: str, number: signal.Signals) -> None:
    """Send a signal to this process and to no other; nothing happens if it ended meanwhile."""
    if is_running(pid, argument):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _is_running_child(pid: int) -> bool:
    """Whether this process started that one and it lives; its exit status is collected otherwise.

    Until then nobody else can get its pid, so its arguments need not be asked. They could not be trusted either: they
    are empty for a moment after the start.
    """
    child = _children.get(pid)
    if child is None:
        return False
    if child.poll() is None:
        return True
    _children.pop(pid, None)
    return False


def _has_argument(pid: int, argument: str) -> bool:
    """Whether this is in the command line of a process; False for one that does not exist or has ended."""
    if Path("/proc/self/cmdline").exists():
        try:
            return argument in os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        except OSError:
            return False
    # macOS has no /proc, and ps does not tell the arguments apart.
    shown = subprocess.run(  # noqa: S603
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return f" {argument}" in shown.stdout


def _is_ending(pid: int) -> bool:
    """Whether a process has lost its memory, and its arguments with it, but not yet its sockets and locks."""
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        threads = sum(1 for _ in (process / "task").iterdir())
        return not (process / "cmdline").read_bytes() and (state not in "ZX" or threads > 1)
    except OSError:
        return False
