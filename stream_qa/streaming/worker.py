"""The worker process: checks that all is as it must be, then runs Faust."""

import asyncio
import fcntl
import logging
import os
import socket
import sys
import warnings
from pathlib import Path
from typing import IO, NoReturn

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import AlreadyConfiguredWarning
from mode.utils.logging import level_number

from stream_qa.errors import SettingsError, StateError, StreamQAError
from stream_qa.logs import set_up_logs
from stream_qa.settings import Settings
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.streaming.lost_connections import expect_lost_connections
from stream_qa.streaming.record_batches import read_what_brokers_take
from stream_qa.streaming.topic_check import check_topics

_log = logging.getLogger(__name__)

EXIT_REFUSED = 1
"""The worker did not start; nothing was touched."""
EXIT_FAILED = 70
"""The worker stopped itself, before anything doubtful was committed."""


class Worker(faust.Worker):  # type: ignore[misc] # Faust is not typed for subclasses
    """Faust's worker, which refuses to start on a broker or topics that it could not work with."""

    def execute_from_commandline(self) -> NoReturn:
        """Check, then run until a signal ends it."""
        settings: Settings = self.app.stream_qa_settings
        if not settings.web_enabled:
            # Faust's command line has switched it on, whatever the application was set up with. Faust warns that its
            # banner names the address already.
            with warnings.catch_warnings(action="ignore", category=AlreadyConfiguredWarning):
                self.app.conf.web_enabled = False
        try:
            lock = _lock_data_directory(settings)
            if self.app.conf.web_enabled:
                _check_port(self.app.conf.web_bind, self.app.conf.web_port)
            # What goes wrong here is said in one sentence; the client would add its own.
            set_up_logs(settings.log_format, "warning", client_level=logging.CRITICAL)
            asyncio.new_event_loop().run_until_complete(check_topics(settings))
        except StreamQAError as error:
            sys.stderr.write(f"The worker does not start: {error}\n")
            sys.exit(EXIT_REFUSED)
        collect_rarely()
        expect_lost_connections()
        read_what_brokers_take()
        with lock:
            super().execute_from_commandline()
        raise SystemExit

    def _setup_logging(self) -> None:
        """Log as all our programs do, at the level and to the file that the command line or the settings say."""
        settings: Settings = self.app.stream_qa_settings
        level = settings.log_level or level_number(self.loglevel or "WARN")
        stream = Path(self.logfile).open("a") if isinstance(self.logfile, str | Path) else self.logfile  # noqa: SIM115 # for as long as the process lives
        set_up_logs(settings.log_format, level, stream)
        # It would write into the log, a sign for every line of it.
        self.spinner = None


def fail(error: BaseException) -> NoReturn:
    """End the process at once, before anything more is committed.

    Not by an exception: Faust would log it, go on with the other partitions and acknowledge what was not done.
    """
    # The client library wraps what ended a task of its own.
    error = error.__cause__ if isinstance(error.__cause__, StreamQAError) else error
    if isinstance(error, StreamQAError):
        _log.critical("the worker stops: %s: %s", type(error).__name__, error)
    elif isinstance(error, KafkaError):
        _log.critical("the worker stops on an error of the broker: %r", error)
    else:
        _log.critical("the worker stops on a bug; this chunk will be read again", exc_info=error)
    logging.shutdown()
    os._exit(EXIT_FAILED)


def _check_port(host: str, port: int) -> None:
    """Check that the web server will be able to listen."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise SettingsError(
            f"the web server cannot listen on {host}, port {port} ({error.strerror}); "
            "set STREAM_QA_WEB_PORT, or STREAM_QA_WEB_ENABLED=false"
        ) from error


def _lock_data_directory(settings: Settings) -> IO[str]:
    """Take the data directory for this process; two workers in one would corrupt nothing but could not both run."""
    directory = settings.state_directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StateError(f"another worker uses {directory}; give each its own STREAM_QA_DATA_DIRECTORY") from error
    except OSError as error:
        raise StateError(f"the data directory {directory} cannot be used: {error}") from error
    return lock
