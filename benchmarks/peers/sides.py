"""What is measured beside each other, and how each of them is begun."""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from peers import kafka_streams

HERE = Path(__file__).parent
#: Of all topics, where nothing else is said.
PARTITIONS = 4


class Place(NamedTuple):
    """Where a side works: nobody else uses it."""

    broker: str
    """``host:port``."""
    prefix: str
    """In front of its topics."""
    directory: Path
    """For its state."""
    partitions: int = PARTITIONS
    """Of each topic."""

    @property
    def group(self) -> str:
        """Its consumer group."""
        return f"{self.prefix}group"

    @property
    def log(self) -> Path:
        """Where what it prints goes; where it fails, a copy is kept beside the results."""
        return self.directory.with_suffix(".log")


@dataclass(frozen=True)
class Side:
    """One implementation of the pipeline."""

    name: str
    title: str
    command: Callable[[], Sequence[str]]
    environment: Callable[[Place], Mapping[str, str]]
    most_events: int
    """It gets no longer log, so that its rounds do not take all the time."""
    most_rate: int = 1_000_000
    """Events a second: more it cannot keep up with, so no latency is measured there."""
    missing: Callable[[], str] = lambda: ""
    """Says what is not installed that it needs; empty where nothing is."""
    own_topics: bool = False
    """Whether its topics are those that `stream-qa topics apply` declares."""
    examples_among_events: bool = False
    """Whether its examples stand in a topic `job-events`, among all events, and not in one of their own."""
    changelogs: tuple[str, ...] = ()
    """Those of its tables that it takes for missing where it has to create them itself at its start."""


def _of_ours(place: Place) -> dict[str, str]:
    return {
        "STREAM_QA_BROKER": place.broker,
        "STREAM_QA_APP_ID": place.group,
        "STREAM_QA_TOPIC_PREFIX": place.prefix,
        "STREAM_QA_DATA_DIRECTORY": str(place.directory),
        "STREAM_QA_WEB_ENABLED": "false",
        "STREAM_QA_POLICY": str(HERE / "label_policy.yaml"),
        # Of event time a log has little; cut by it, chunks would be tiny.
        "STREAM_QA_REPLAY_STEP_HOURS": "0",
        # Labels are drawn at random, so that what is learned of them does harm; no other side looks at that.
        "STREAM_QA_GUARD": "false",
        # The rule of README.md: nothing fades, and features are learned as they are.
        "STREAM_QA_DECAY_DAYS": "0",
        "STREAM_QA_MEMBER_INTERCEPT_PRECISION": "1",
        "STREAM_QA_MEMBER_SLOPE_PRECISION": "1",
        "STREAM_QA_JOB_INTERCEPT_PRECISION": "1",
        "STREAM_QA_JOB_SLOPE_PRECISION": "1",
    }


def _of_peer(place: Place) -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
        "PEERS_BROKER": place.broker,
        "PEERS_PREFIX": place.prefix,
        "PEERS_DIRECTORY": str(place.directory),
        "PEERS_PARTITIONS": str(place.partitions),
    }


def _python(*arguments: str) -> Callable[[], Sequence[str]]:
    return lambda: [sys.executable, *arguments]


def _needs(module: str) -> Callable[[], str]:
    found = importlib.util.find_spec(module) is not None
    return lambda: "" if found else f"{module} is not installed: pip install 'stream-qa[comparison]'"


SIDES = [
    Side(
        "stream_qa",
        "stream_qa, exactly once",
        _python("-m", "faust", "-A", "stream_qa.app", "worker", "-l", "info"),
        _of_ours,
        most_events=300_000,
        own_topics=True,
    ),
    Side(
        "stock_faust",
        "Faust as it comes, at least once",
        _python("-m", "faust", "-A", "peers.stock_faust", "worker", "-l", "info"),
        _of_peer,
        most_events=12_000,
        most_rate=500,
        changelogs=tuple(f"group-{table}-changelog" for table in ("known-applications", "members", "jobs")),
    ),
    Side(
        "quix_exactly_once",
        "Quix Streams, exactly once",
        _python("-m", "peers.quix_exactly_once"),
        _of_peer,
        most_events=100_000,
        missing=_needs("quixstreams"),
        examples_among_events=True,
    ),
    Side(
        "kafka_streams",
        "Kafka Streams, exactly_once_v2",
        kafka_streams.command,
        _of_peer,
        most_events=300_000,
        missing=kafka_streams.missing,
    ),
    Side(
        "aiokafka_plain",
        "by hand on aiokafka, an event at a time, no guarantees",
        _python("-m", "peers.aiokafka_plain"),
        _of_peer,
        most_events=300_000,
    ),
    Side(
        "aiokafka_optimised",
        "by hand on aiokafka, optimised, no guarantees",
        _python("-m", "peers.aiokafka_optimised"),
        _of_peer,
        most_events=300_000,
    ),
]
