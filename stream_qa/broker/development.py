"""One Kafka node in a directory: started, found again, stopped."""

import base64
import contextlib
import fcntl
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from stream_qa.broker import processes, properties
from stream_qa.broker.java import java_with_kafka
from stream_qa.broker.ports import LOOPBACK, free_port, is_free
from stream_qa.broker.readiness import cluster_id
from stream_qa.errors import BrokerError, BrokerStartError, BrokerUnavailableError

STOP_SECONDS = 30.0
KILL_SECONDS = 10.0
ANSWER_SECONDS = 2.0
REASON_LINES = 8
#: For a Java program that runs for seconds or minutes: little time is spent on making it fast.
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@dataclass(frozen=True)
class BrokerStatus:
    """What there is to say about the broker of a directory; ``pid`` is None unless it runs."""

    running: bool
    pid: int | None
    bootstrap: str
    directory: Path
    log_file: Path


class DevelopmentBroker:
    """Apache Kafka in KRaft mode on the loopback interface, for development and tests.

    It outlives this object and this process: any other object for the same directory finds it again. All it knows
    is in the directory: ``server.properties``, ``broker.pid``, ``broker.log`` (``broker.log.1`` is that of the start
    before), ``kafka-data`` with the topics, and the file ``lock`` that keeps two starts apart.

    Parameters
    ----------
    directory
        Where the broker keeps everything; made at need.
    port
        Where clients connect.
    start_seconds
        How long a start may take.
    report
        Is told of the steps of a start, one sentence each.
    features
        Versions of Kafka's features by name, such as ``transaction.version``, instead of the newest; only the first
        start takes note of it.
    listeners
        Protocol, such as ``SASL_SSL``, and port of more listeners, by name; the plain one stays, for the broker itself.
    more_properties
        Kafka's properties beside ours, or instead of them.
    users
        Passwords by user name, for SCRAM; only the first start takes note of it.
    java_options
        Options of the Java runtime. By default it compiles quickly and not well: the broker is there sooner, for half
        the CPU time, and takes less of it in its first minutes. A benchmark gives none.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 9092,
        *,
        start_seconds: float = 60.0,
        report: Callable[[str], None] = lambda _: None,
        features: Mapping[str, int] = MappingProxyType({}),
        listeners: Mapping[str, tuple[str, int]] = MappingProxyType({}),
        more_properties: Mapping[str, str] = MappingProxyType({}),
        users: Mapping[str, str] = MappingProxyType({}),
        java_options: Sequence[str] = QUICK,
    ) -> None:
        self.directory = directory.resolve()
        self.port = port
        self.log_file = self.directory / "broker.log"
        self._start_seconds = start_seconds
        self._report = report
        self._features = features
        self._listeners = listeners
        self._more_properties = more_properties
        self._users = users
        self._java_options = java_options
        self._data = self.directory / "kafka-data"
        self._pid_file = self.directory / "broker.pid"
        self._properties = self.directory / "server.properties"

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process of this directory's broker, or None if none runs."""
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        # After a crash the number may belong to another process; the path of the properties tells.
        return pid if processes.is_running(pid, str(self._properties)) else None

    def status(self) -> BrokerStatus:
        """Say whether the broker runs and where; one that is still starting counts as running."""
        pid = self.pid
        ports = properties.read_ports(self._properties)
        return BrokerStatus(
            running=pid is not None,
            pid=pid,
            bootstrap=f"{LOOPBACK}:{ports[0]}" if pid is not None and ports is not None else self.bootstrap,
            directory=self.directory,
            log_file=self.log_file,
        )

    def up(self) -> None:
        """Start the broker unless it runs, and return when it answers.

        Raises
        ------
        BrokerStartError
            It did not start; the message says why, as far as is known, and names the log file if there is one.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerStartError(f"The directory {self.directory} cannot be made: {error}") from error
        with self._lock():
            pid = self.pid
            if pid is None:
                self._start()
                return
            running_at = self.status().bootstrap
            if running_at != self.bootstrap:
                raise BrokerStartError(
                    f"The broker of {self.directory} runs already, at {running_at} (pid {pid}). "
                    f"Stop it first, or take another directory for a second one."
                )
            self._report(f"A broker runs already, pid {pid}.")
            self._wait_until_it_answers(pid)

    def down(self) -> bool:
        """Stop the broker and keep its data; False if none ran."""
        if not self.directory.is_dir():
            return False
        with self._lock():
            pid = self.pid
            if pid is not None:
                processes.send(pid, str(self._properties), signal.SIGTERM)
                if not processes.wait_until_ended(pid, str(self._properties), STOP_SECONDS):
                    self._report(f"It did not stop within {STOP_SECONDS:.0f} seconds and is killed, pid {pid}.")
                    self._kill(pid)
            self._pid_file.unlink(missing_ok=True)
            return pid is not None

    def kill(self) -> None:
        """Kill the broker and wait until it is gone, as a crash would leave it: for tests of faults."""
        pid = self.pid
        if pid is not None:
            self._kill(pid)

    def delete_data(self) -> None:
        """Delete all topics of a broker that does not run.

        Raises
        ------
        BrokerError
            The broker runs.
        """
        # The properties tell a broker's directory from any other that happens to be named by mistake.
        if not self._properties.exists():
            return
        with self._lock():
            if self.pid is not None:
                raise BrokerError(f"The broker of {self.directory} runs; its data cannot be deleted.")
            if self._data.exists():
                shutil.rmtree(self._data)
            self._properties.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one start or stop at a time have this directory; the others wait for it to finish."""
        with (self.directory / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file, also when this process is killed
            yield

    def _start(self) -> None:
        if "," in str(self._data):
            raise BrokerStartError(f"Kafka keeps no data in a directory with a comma in its name: {self.directory}")
        if not is_free(self.port):
            raise BrokerStartError(
                f"Port {self.port} of {LOOPBACK} is taken by another process, so no broker was started. "
                f"Stop that one or choose another port."
            )
        java = java_with_kafka(self._report)
        self._properties.write_text(
            properties.render(self.port, self._controller_port(), self._data, self._listeners, self._more_properties)
        )
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_name("broker.log.1"))
        deadline = time.monotonic() + self._start_seconds
        if not (self._data / "meta.properties").exists():
            self._format(java)
        self._report(f"Starting Apache Kafka at {self.bootstrap}; its log is {self.log_file}")
        pid = processes.start(
            [*java[:1], "-Xmx512m", *self._java_options, *java[1:], "kafka.Kafka", str(self._properties)],
            self.directory,
            self.log_file,
        )
        try:
            self._pid_file.write_text(f"{pid}\n")
            self._wait_until_it_answers(pid, deadline)
        except BaseException:  # Ctrl-C too: what this started must not be left half up
            self._kill(pid)
            raise

    def _controller_port(self) -> int:
        kept = properties.read_ports(self._properties)
        if kept is not None and kept[1] != self.port and is_free(kept[1]):
            return kept[1]
        return free_port(other_than=self.port)

    def _format(self, java: list[str]) -> None:
        """Make the data directory what Kafka expects: done once, with an id for the new cluster."""
        self._report("Formatting the data directory, only this once.")
        # 16 bytes as Kafka writes them. The fixed beginning keeps the id from starting with a dash like an option.
        new_id = base64.urlsafe_b64encode(b"stream" + os.urandom(10)).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", new_id, "-c", str(self._properties)]
        for name, version in self._features.items():
            tool += ["--feature", f"{name}={version}"]
        for name, password in self._users.items():
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                tool += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        pid = processes.start([*java[:1], *QUICK, *java[1:], *tool], self.directory, self.log_file)
        try:
            processes.wait_until_ended(pid, str(self._properties), self._start_seconds)
        finally:
            self._kill(pid)
        if not (self._data / "meta.properties").exists():
            raise BrokerStartError(f"The data directory could not be formatted; {self._reason()}")

    def _wait_until_it_answers(self, pid: int, deadline: float | None = None) -> None:
        deadline = time.monotonic() + self._start_seconds if deadline is None else deadline
        while processes.is_running(pid, str(self._properties)):
            try:
                cluster_id(self.bootstrap, ANSWER_SECONDS)
            except BrokerUnavailableError as error:
                if time.monotonic() > deadline:
                    message = f"{error} after {self._start_seconds:.0f} seconds; {self._reason()}"
                    raise BrokerStartError(message) from error
                time.sleep(processes.POLL_SECONDS)
            else:
                return
        raise BrokerStartError(f"The broker ended while it was starting; {self._reason()}")

    def _kill(self, pid: int) -> None:
        processes.send(pid, str(self._properties), signal.SIGKILL)
        processes.wait_until_ended(pid, str(self._properties), KILL_SECONDS)

    def _reason(self) -> str:
        """Quote the log: its errors, for at its very end stand only steps of the shutdown; else its last lines."""
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        errors = [line for line in lines if re.search(r" ERROR |Exception: |Error: ", line)]
        quoted = errors[:REASON_LINES] or lines[-REASON_LINES:] or ["(nothing)"]
        return "\n".join([f"its log {self.log_file} says:", *quoted])
