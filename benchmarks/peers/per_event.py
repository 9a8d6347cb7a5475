"""The pipeline's decisions for one event at a time, as a Python user would write them: dictionaries and lists.

Stock Faust, Quix Streams and the plain loop share them, so that they differ in what carries events and state alone. For
one event and 17 coefficients lists are faster than numpy.
"""

import base64
import math
import struct
from operator import mul
from typing import Any, NamedTuple

Message = dict[str, Any]
State = dict[str, Any]

LEARNING_RATE = 0.5
EPSILON = 1.0
PRIOR_PULL = 0.01
BOUND = 20.0
VALUES = {"message": 1, "rejection": 0}


def take_application(known: State | None, application: Message, job: State | None) -> tuple[State, list[Message]]:
    """Return an application's new state and its new labels; an engagement may have waited for it."""
    known = known or {"application": None, "engagement": None}
    if known["application"] is not None:
        return known, []
    known["application"] = application
    labels = [_label(application, None, job)]
    if known["engagement"] is not None:
        labels.append(_label(application, known["engagement"], job))
    return known, labels


def take_engagement(known: State | None, engagement: Message, job: State | None) -> tuple[State, list[Message]]:
    """Return an application's new state and its new labels; the first engagement decides."""
    known = known or {"application": None, "engagement": None}
    if known["engagement"] is not None or engagement["kind"] not in VALUES:
        return known, []
    known["engagement"] = engagement
    application = known["application"]
    return known, [] if application is None else [_label(application, engagement, job)]


class Learned(NamedTuple):
    """What a label has done to a member."""

    member: State
    example: Message
    delta: Message


def score(label: Message, member: State | None) -> Message:
    """Return the score of an application that opens."""
    member_log_odds = log_odds(member, label["job_features"])
    total = label["global_log_odds"] + label["job_log_odds"] + member_log_odds
    return {
        "application_id": label["application_id"],
        "member_id": label["member_id"],
        "job_id": label["job_id"],
        "applied_at": label["applied_at"],
        "global_log_odds": label["global_log_odds"],
        "member_log_odds": member_log_odds,
        "job_log_odds": label["job_log_odds"],
        "log_odds": total,
        "probability": _probability(total),
        "model_version": "none",
        "member_version": member["version"] if member else 0,
        "job_version": label["job_version"],
    }


def take_label(label: Message, member: State | None) -> Learned:
    """Return what a label with a value does to its member, and what the job's learner gets of it."""
    example = {
        "application_id": label["application_id"],
        "job_id": label["job_id"],
        "value": label["value"],
        "happened_at": label["happened_at"],
        "member_features": label["member_features"],
        "global_log_odds": label["global_log_odds"],
        "member_log_odds": log_odds(member, label["job_features"]),
    }
    offset = label["global_log_odds"] + label["job_log_odds"]
    after, delta = learn("member", label["member_id"], member, label["job_features"], offset, label)
    return Learned(after, example, delta)


def take_example(example: Message, job: State | None) -> tuple[State, Message]:
    """Return what an example makes of its job, and the delta."""
    offset = example["global_log_odds"] + example["member_log_odds"]
    return learn("job", example["job_id"], job, example["member_features"], offset, example)


def learn(  # noqa: PLR0917 # one step needs as much
    kind: str, entity_id: str, state: State | None, features: list[float], offset: float, label: Message
) -> tuple[State, Message]:
    """Take one AdaGrad step; return the entity's new state and its delta, by the public schema."""
    inputs = [1.0, *features]
    if state is None:
        state = {"version": 0, "newest_at": 0, "coefficients": [0.0] * len(inputs), "squares": [0.0] * len(inputs)}
    before = state["coefficients"]
    error = _probability(offset + sum(map(mul, before, inputs))) - label["value"]
    gradients = [error * number for number in inputs]
    squares = [square + gradient * gradient for square, gradient in zip(state["squares"], gradients, strict=True)]
    after = [
        max(-BOUND, min(BOUND, old - LEARNING_RATE * (gradient + PRIOR_PULL * old) / math.sqrt(EPSILON + square)))
        for old, gradient, square in zip(before, gradients, squares, strict=True)
    ]
    version, newest_at = state["version"] + 1, max(state["newest_at"], label["happened_at"])
    change = struct.pack(f"<{len(after)}d", *[new - old for new, old in zip(after, before, strict=True)])
    delta = {
        "entity_kind": kind,
        "entity_id": entity_id,
        "base_version": version - 1,
        "version": version,
        "change": base64.b64encode(change).decode(),
        "model_version": "none",
        "labels": version,
        "newest_at": newest_at,
    }
    return {"version": version, "newest_at": newest_at, "coefficients": after, "squares": squares}, delta


def log_odds(state: State | None, features: list[float]) -> float:
    """Return an entity's part of a score."""
    if state is None:
        return 0.0
    intercept, *slopes = state["coefficients"]
    return float(intercept + sum(map(mul, slopes, features)))


def _label(application: Message, engagement: Message | None, job: State | None) -> Message:
    return {
        "application_id": application["application_id"],
        "member_id": application["member_id"],
        "job_id": application["job_id"],
        "revision": 1 if engagement is None else 2,
        "value": None if engagement is None else VALUES[engagement["kind"]],
        "happened_at": application["applied_at"] if engagement is None else engagement["engaged_at"],
        "applied_at": application["applied_at"],
        "member_features": application["member_features"],
        "job_features": application["job_features"],
        "global_log_odds": application["global_log_odds"],
        "job_log_odds": log_odds(job, application["member_features"]),
        "job_version": job["version"] if job else 0,
    }


def _probability(log_odds: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * log_odds)
