"""The log of the Kafka client, in commands for people."""

import logging


def quieten_client() -> None:
    """Let the Kafka client say nothing: what it logs about a failure comes back as our own error, in one sentence."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
