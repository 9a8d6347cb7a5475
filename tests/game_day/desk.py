"""The operator's desk: pages, metrics, logs and commands; whatever is looked at there is printed as it was."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ground import PROGRAM, Ground
from ports import free_port

#: The shortest that brokers allow: nobody waits for long on a game day.
SHORT_SESSION = {"STREAM_QA_SESSION_TIMEOUT_SECONDS": "6"}
_PATIENCE_SECONDS = 90
_LOOK_AGAIN_SECONDS = 0.2
_ANSWER_SECONDS = 10
_WORKER_PORT, _SERVICE_PORT = 6066, 8080
_WIDTH = "160"
_WHEN = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z? ")


class NotSeenError(Exception):
    """What an incident should show did not come."""


def wait_for(what: str, condition: Callable[[], object]) -> None:
    """Look until a condition holds."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise NotSeenError(f"not within {_PATIENCE_SECONDS} s: {what}")
        time.sleep(_LOOK_AGAIN_SECONDS)


def _is_in(pattern: str, file: Path) -> bool:
    return re.search(pattern, file.read_text()) is not None


@dataclass
class Process:
    """A worker or a scoring service, with the port of its web server and its log."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    shown_port: int

    def page(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a page; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=_ANSWER_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    @property
    def has_ended(self) -> bool:
        """Whether the process is there no more."""
        return self.process.poll() is not None

    @property
    def is_ready(self) -> bool:
        """Whether ``/readyz`` is 200."""
        return self.page("/readyz")[0] == 200


@dataclass
class Desk:
    """What can be seen of one ground; paths, ports and the prefix of topics are shown as operators have them."""

    ground: Ground
    names: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self.names |= {
            str(self.ground.directory): "",
            self.ground.settings.app_id: "stream-qa",
            self.ground.settings.topic_prefix: "",
            self.ground.settings.broker: "127.0.0.1:9092",
        }

    def say(self, line: str) -> None:
        """Print a line, with nothing of this machine in it."""
        for own, shown in self.names.items():
            line = line.replace(own, shown)
        print(f"    {line}".rstrip(), flush=True)

    @contextmanager
    def worker(self, name: str = "worker", *program: str, **settings: str) -> Iterator[Process]:
        """Run a worker until the context is left."""
        with self._process(name, _WORKER_PORT + self._count, free_port(), program, settings) as worker:
            yield worker

    @contextmanager
    def service(self, store: str) -> Iterator[Process]:
        """Run the scoring service."""
        port = free_port()
        settings = {"STREAM_QA_SERVE_PORT": str(port), "STREAM_QA_SERVE_STORE": store}
        with self._process("service", _SERVICE_PORT, port, (*PROGRAM, "serve"), settings) as service:
            yield service

    @contextmanager
    def _process(
        self, name: str, shown: int, port: int, program: Sequence[str], settings: Mapping[str, str]
    ) -> Iterator[Process]:
        self.names[f"127.0.0.1:{port}"] = f"127.0.0.1:{shown}"
        web = {"STREAM_QA_WEB_ENABLED": "true", "STREAM_QA_WEB_PORT": str(port)}
        process = self.ground.run(name, *program, **{**web, **settings})
        self._count += 1
        try:
            yield Process(name, process, port, shown)
        finally:
            self._count -= 1
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ready(self, process: Process) -> None:
        """Wait until a worker or a service is ready."""
        wait_for(f"{process.name} is ready", lambda: process.is_ready or process.has_ended)
        if not process.is_ready:
            raise NotSeenError(f"{process.name} is ready; it says: {self.ground.log_of(process.name).read_text()}")

    def command(self, *arguments: str, only: str = "", code: int | None = None) -> str:
        """Run ``stream-qa`` and show what it prints, or of that the lines in which ``only`` is found."""
        done = self.run(*arguments)
        if code is not None and done.returncode != code:
            raise NotSeenError(f"stream-qa {arguments} with code {code}: {done.returncode} {done.stdout}{done.stderr}")
        text = done.stdout if done.returncode == 0 else done.stdout + done.stderr
        self.say(f"$ stream-qa {' '.join(arguments)}")
        for line in text.splitlines():
            if re.search(only, line):
                self.say(line)
        if done.returncode:
            self.say(f"(exit code {done.returncode})")
        return text

    def status(self, *workers: Process, only: str = "^!!", **wanted: bool) -> None:
        """Wait until ``stream-qa status`` finds what is ``wanted`` well or not well, and show it."""
        addresses = [part for each in workers for part in ("--worker", f"http://127.0.0.1:{each.port}")]

        def is_seen() -> bool:
            found = {each["what"]: each["well"] for each in self._status(*addresses)}
            return all(found.get(name.replace("_", " ")) == is_well for name, is_well in wanted.items())

        wait_for(f"stream-qa status with {wanted}", is_seen)
        self.command("status", *addresses, only=only)

    def _status(self, *arguments: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.run("status", "--json", *arguments).stdout)["findings"]
        return found

    def page(self, process: Process, path: str, status: int) -> None:
        """Wait until a page has a status, and show it."""
        wait_for(f"{path} with {status}", lambda: process.page(path)[0] == status)
        self.say(f"$ curl -s 127.0.0.1:{process.shown_port}{path}")
        self.say(f"{process.page(path)[1]}   ({status})")

    def metrics(self, process: Process, *wanted: str, shown: str | None = None) -> None:
        """Wait until each of these is found at the beginning of a line of ``/metrics``, and show those lines."""
        text = ""

        def is_seen() -> bool:
            nonlocal text
            text = process.page("/metrics")[1]
            return all(re.search(f"^{each}", text, re.MULTILINE) for each in wanted)

        wait_for(f"the metrics {wanted}", is_seen)
        self.say(f"$ curl -s 127.0.0.1:{process.shown_port}/metrics")
        for line in text.splitlines():
            if any(re.match(each, line) for each in ([shown] if shown else wanted)):
                self.say(line)

    def log(self, name: str, *wanted: str, last: int = 1) -> None:
        """Wait until each of these is in a log, and show the ``last`` lines that have it."""
        file = self.ground.log_of(name)
        for each in wanted:
            wait_for(f"{each!r} in the log of {name}", partial(_is_in, each, file))
            for line in [line for line in file.read_text().splitlines() if re.search(each, line)][-last:]:
                self.say(_WHEN.sub("", line))

    def ended(self, process: Process, code: int) -> None:
        """Wait until a process has ended by itself, and show how."""
        wait_for(f"{process.name} ends", lambda: process.has_ended)
        if process.process.returncode != code:
            raise NotSeenError(f"exit code {code}, not {process.process.returncode}")
        self.say(f"(the worker has ended with exit code {code})")

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run ``stream-qa`` with the settings of the ground, and show nothing."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            env={**self.ground.whole_environment, "COLUMNS": _WIDTH},
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
