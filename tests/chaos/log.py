"""What goes in: a simulated log, bad input among it, and events that are delivered again."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import orjson
from builders import DAY

from stream_qa.events import TopicNames
from stream_qa.replay.log import LogEvent
from stream_qa.simulation import Marketplace, simulate

BAD_SHARE = 0.01
AGAIN_AT_ONCE_SHARE = 0.01
AGAIN_LATER_SHARE = 0.01
LATER = (20, 400)
"""Between how many and how many events later."""
MAX_MESSAGE_BYTES = 20_000
"""The workers' limit, so that a message above it is small enough to send many."""
BAD = "chaos-bad"
"""Header of an input that must become a dead letter; its value says what is wrong with it."""
ORPHAN = "orphan"

#: An application this long after it was sent is not over yet, whatever was read.
_SURELY_ALIVE = 20 * DAY
#: Events before the first bad input: what decides a partition's feature schema is good.
_GOOD_AT_FIRST = 150
_FEATURES = 4
_DAYS = 84


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to an input topic."""

    topic: str
    key: bytes
    value: bytes | None
    event: LogEvent | None
    """The event, where this is its first delivery."""
    bad: str | None = None
    """What is wrong with it; ``None`` for a good one."""


def draw_log(seed: int, applications: int, topics: TopicNames, *, bad_share: float = BAD_SHARE) -> list[Delivery]:
    """Return everything that is to be delivered, in order.

    Parameters
    ----------
    seed
        The same seed gives the same log.
    applications
        About as many; engagements come to these.
    topics
        The input topics' names.
    bad_share
        How many bad inputs come for each event.
    """
    marketplace = Marketplace(
        members=max(20, applications // 6),
        jobs=max(10, applications // 20),
        days=_DAYS,
        applications=applications,
        features=_FEATURES,
    )
    random = Random(seed)  # noqa: S311 - a seed is to be repeated
    deliveries: list[Delivery] = []
    again: list[tuple[int, Delivery]] = []
    applied_at: dict[str, int] = {}
    events: Iterator[dict[str, Any]] = simulate(marketplace, np.random.default_rng(seed)).events()
    for number, event in enumerate(events):
        delivery = _first_delivery(event, topics)
        applied_at.setdefault(event["application_id"], time_of(event))
        deliveries.append(delivery)
        repeated = Delivery(delivery.topic, delivery.key, delivery.value, None)
        if random.random() < AGAIN_AT_ONCE_SHARE:
            deliveries.append(repeated)
        if random.random() < AGAIN_LATER_SHARE:
            again.append((number + random.randint(*LATER), repeated))
        if number >= _GOOD_AT_FIRST and random.random() < bad_share:
            first = applied_at.get(event["application_id"])
            is_alive = first is not None and time_of(event) < first + _SURELY_ALIVE
            deliveries.append(random.choice(list(_bad_inputs(number, event, delivery, topics, is_alive=is_alive))))
        deliveries += [late for due, late in again if due == number]
        again = [(due, late) for due, late in again if due > number]
    return deliveries


def time_of(event: dict[str, Any]) -> int:
    """Return an event's time in milliseconds."""
    time: int = event["applied_at"] if "applied_at" in event else event["engaged_at"]
    return time


def _first_delivery(event: dict[str, Any], topics: TopicNames) -> Delivery:
    is_application = event["type"] == "application"
    value = orjson.dumps({name: field for name, field in event.items() if name != "type"})
    key = event["job_id"].encode()
    topic = topics.applications if is_application else topics.engagements
    return Delivery(topic, key, value, LogEvent(time_of(event), 0 if is_application else 1, value, key, topic))


def _bad_inputs(
    number: int, event: dict[str, Any], good: Delivery, topics: TopicNames, *, is_alive: bool
) -> Iterator[Delivery]:
    """Yield what may come right after an event: each is bad in whatever order the two topics are read."""

    def bad(kind: str, value: bytes | None, topic: str = good.topic) -> Delivery:
        return Delivery(topic, good.key, value, None, kind)

    fields = orjson.loads(good.value or b"")
    yield bad("not-json", b"\x00\xff not JSON")
    yield bad("cut-off", (good.value or b"")[:-7])
    yield bad("no-value", None)
    yield bad("wrong-type", orjson.dumps({**fields, "application_id": number}))
    yield bad("too-large", orjson.dumps({**fields, "unknown": "x" * MAX_MESSAGE_BYTES}))
    if is_alive:
        # What comes for an application that is over is ignored, whatever it says.
        yield bad("conflict", orjson.dumps({**fields, "job_id": "another-job"}))
    if event["type"] == "application":
        infinite = good.value or b""
        yield bad("infinite", infinite.replace(b'"member_features":[', b'"member_features":[1e999,', 1))
        other = {**fields, "application_id": f"other-schema-{number}", "job_features": [1.0]}
        yield bad("other-schema", orjson.dumps(other))
    else:
        orphan = {**fields, "application_id": f"nobody-{number}", "engagement_id": f"of-nobody-{number}"}
        yield bad(ORPHAN, orjson.dumps(orphan), topics.engagements)
