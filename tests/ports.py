"""Ports for the servers of tests: none twice in a process, and none that other processes of the run or the kernel take.

One that is chosen is bound only seconds later, by a program that has to start first.
"""

import os
from itertools import cycle

from stream_qa.broker.ports import is_free

#: What is below the ports that kernels give away by themselves.
_RANGE = (15_000, 32_000)
_PROCESSES = 16


def free_port() -> int:
    """Choose a loopback port on which nothing listens now."""
    return next(port for port in _ports if is_free(port))


def _own_ports() -> range:
    """Return those of this process among the ones that share a test run."""
    first, end = _RANGE
    return range(
        first + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES, end, _PROCESSES
    )


def _from_anywhere(ports: range) -> "cycle[int]":
    """Return them from another place in each process: two runs may go side by side."""
    start = os.getpid() % len(ports)
    return cycle([*ports[start:], *ports[:start]])


_ports = _from_anywhere(_own_ports())
