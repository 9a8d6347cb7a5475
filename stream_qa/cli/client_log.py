"""The log of commands for people, in which the Kafka client is quiet."""

import logging

from stream_qa.logs import set_up_logs
from stream_qa.settings import load_settings


def quieten_client() -> None:
    """Set the log up, and let the Kafka client say nothing: a failure comes back as our own error, in one sentence.

    Raises
    ------
    SettingsError
        The settings cannot be read.
    """
    settings = load_settings()
    set_up_logs(settings.log_format, settings.log_level or "warning", client_level=logging.CRITICAL)
