"""The service's process: store, follower and model set up from the settings, and a server that listens."""

import asyncio
import logging
import signal
import socket
import sys
from contextlib import closing
from functools import partial

import uvicorn

from stream_qa.errors import BrokerAccessError, SettingsError
from stream_qa.logs import set_up_logs
from stream_qa.serving.application import create_application
from stream_qa.serving.served import open_generation, open_served
from stream_qa.serving.serving import Serving, switches_of
from stream_qa.settings import Settings, without_password
from stream_qa.topics import refusal

_log = logging.getLogger(__name__)
_STOP_SECONDS = 10


def run(settings: Settings) -> None:
    """Serve until a signal ends it.

    Raises
    ------
    BundleError
        The model bundle cannot be used.
    DiskError, StoreUnavailableError, MissingExtraError
        The coefficient store cannot be opened.
    SettingsError
        Nothing can listen at the address.
    BrokerAccessError
        The broker does not take who we are, or is not whom we believe. One that does not answer is waited for.
    """
    # The server answers signals while it runs, then raises them again for whoever had them before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    set_up_logs(settings.log_format, settings.log_level or "info", client_level=logging.ERROR)
    problem = asyncio.run(refusal(settings.kafka))
    if isinstance(problem, BrokerAccessError):
        raise problem
    with closing(_listen(settings.serve_host, settings.serve_port)) as listening:
        first = open_served(settings)
        serving = Serving(first, partial(open_generation, settings), switches_of(settings))
        application = create_application(settings, serving)
        _log.info(
            "began with generation %d and model %s, coefficients are in %s",
            first.generation,
            first.scorer().model.version,
            without_password(settings.serve_store),
        )
        config = uvicorn.Config(
            application, log_config=None, access_log=False, timeout_graceful_shutdown=_STOP_SECONDS, server_header=False
        )
        uvicorn.Server(config).run([listening])


def _listen(host: str, port: int) -> socket.socket:
    """Listen, so that what cannot be is said in a sentence, before anything else is begun."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"the service cannot listen on {host}, port {port} ({error.strerror}); set STREAM_QA_SERVE_PORT"
        ) from error
