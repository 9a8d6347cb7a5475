"""The log that all sides get: applications, and an engagement with half of them, in the order of event time."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import orjson

FEATURES = 16
MEMBERS, JOBS = 20_000, 5_000
#: Of an engagement's kinds: the first gives a positive label, the other a negative one. All sides go by them.
KINDS = ("message", "rejection")
#: 2026-01-05T00:00:00Z.
FIRST_TIME = 1_767_571_200_000
#: From one event to the next: no log comes near the 14 days after which our policy would close an application.
GAP_MILLISECONDS = 10
POSITIVE_SHARE = 0.4
#: An engagement comes after its application within this share of the log.
LONGEST_DELAY = 0.1

Keys = Literal["zipf", "uniform"]
Input = Literal["applications", "engagements"]


class Event(NamedTuple):
    """One event as it is written to its topic."""

    topic: Input
    key: bytes
    value: bytes
    time: int
    """Of the event, ms since the epoch, UTC."""


def make_log(
    count: int,
    keys: Keys,
    seed: int,
    *,
    members: int = MEMBERS,
    jobs: int = JOBS,
    first_time: int = FIRST_TIME,
    gap: float = GAP_MILLISECONDS,
) -> list[Event]:
    """Return ``count`` events: two applications for each engagement, each of these with an application of its own.

    Parameters
    ----------
    count
        Of events.
    keys
        Whether members and jobs are drawn alike, or in proportion to one over their rank (Zipf's law).
    seed
        Of the draws.
    members, jobs
        How many there are.
    first_time
        Of the first event, ms since the epoch, UTC.
    gap
        Milliseconds from one event to the next.
    """
    random = np.random.default_rng(seed)
    engaged = count // 3
    applied = count - engaged
    places = np.arange(applied, dtype=np.float64)
    chosen = random.permutation(applied)[:engaged]
    answers = places[chosen] + random.uniform(1.0, max(2.0, LONGEST_DELAY * applied), engaged)
    order = np.argsort(np.concatenate([places, answers]), kind="stable")
    times = np.empty(count, np.int64)
    times[order] = first_time + np.floor(gap * np.arange(count)).astype(np.int64)
    member_of, job_of = (_draw(random, number, applied, keys) for number in (members, jobs))
    job_features = random.normal(size=(jobs, FEATURES)).round(3)
    member_features = random.normal(size=(members, FEATURES)).round(3)
    log_odds = random.normal(-1.0, 0.5, applied).round(3)
    positive = random.random(engaged) < POSITIVE_SHARE

    events = []
    for place in order.tolist():
        time = int(times[place])
        if place < applied:
            number = place
            member, job = int(member_of[number]), int(job_of[number])
            events.append(
                application(
                    f"application-{number:07}",
                    f"member-{member:06}",
                    f"job-{job:06}",
                    time,
                    member_features[member].tolist(),
                    job_features[job].tolist(),
                    float(log_odds[number]),
                )
            )
        else:
            number = int(chosen[place - applied])
            kind = KINDS[0] if positive[place - applied] else KINDS[1]
            events.append(engagement(f"application-{number:07}", f"job-{int(job_of[number]):06}", kind, time))
    return events


def application(  # noqa: PLR0917 # the fields of a record
    application_id: str,
    member_id: str,
    job_id: str,
    applied_at: int,
    member_features: list[float],
    job_features: list[float],
    global_log_odds: float,
) -> Event:
    """Return an application, by the public schema."""
    value = {
        "application_id": application_id,
        "member_id": member_id,
        "job_id": job_id,
        "applied_at": applied_at,
        "feature_schema": "peers",
        "member_features": member_features,
        "job_features": job_features,
        "global_log_odds": global_log_odds,
    }
    return Event("applications", job_id.encode(), orjson.dumps(value), applied_at)


def engagement(application_id: str, job_id: str, kind: str, engaged_at: int) -> Event:
    """Return an engagement, by the public schema."""
    value = {"application_id": application_id, "job_id": job_id, "kind": kind, "engaged_at": engaged_at}
    return Event("engagements", job_id.encode(), orjson.dumps(value), engaged_at)


class Counts(NamedTuple):
    """What a pipeline makes of a log: numbers of messages, and of steps that its deltas say were taken."""

    labels: int = 0
    scores: int = 0
    examples: int = 0
    member_steps: int = 0
    job_steps: int = 0


def expected_counts(log: Sequence[Event]) -> Counts:
    """Return what every pipeline must make of ``log``."""
    of = Counter(event.topic for event in log)
    applied, engaged = of["applications"], of["engagements"]
    return Counts(labels=applied + engaged, scores=applied, examples=engaged, member_steps=engaged, job_steps=engaged)


def _draw(random: np.random.Generator, number: int, count: int, keys: Keys) -> np.ndarray:
    """Return ``count`` of ``number`` entities."""
    if keys == "uniform":
        return random.integers(number, size=count)
    shares = 1.0 / np.arange(1, number + 1)
    # The frequent ones are not neighbours by name.
    return random.permutation(number)[random.choice(number, count, p=shares / shares.sum())]
