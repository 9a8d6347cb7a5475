"""A marketplace whose input is no longer as in the training of its bundle: a feature comes in another unit."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from stream_qa.bundle import load_bundle
from stream_qa.coefficients import FeatureNames
from stream_qa.events import TopicNames
from stream_qa.labels import LabelPolicy
from stream_qa.replay.log import read_log
from stream_qa.simulation import Marketplace, simulate
from stream_qa.training.history import read_history
from stream_qa.training.joint_fit import HyperParameters
from stream_qa.training.train import train

NAMES = FeatureNames(member_features=["experience", "distance"], job_features=["pay", "remote"])
FAST = HyperParameters(prior_sweeps=3, most_sweeps=5)


class Drifted(NamedTuple):
    """A bundle, and a log that it does not fit any more."""

    bundle: Path
    log: Path
    outside: int
    """Applications whose ``pay`` is outside of the training's range."""


def drifted_market(directory: Path, topics: TopicNames) -> Drifted:
    """Train a bundle on a log, and write that log with ``pay`` in another unit."""
    path = directory / "log.jsonl"
    # Enough answers that how soon they come is judged as well.
    market = Marketplace(members=300, jobs=120, days=40, applications=9_000, features=2)
    events: list[dict[str, Any]] = list(simulate(market, np.random.default_rng(1)).events())
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    read, policy = read_log([path], topics).events, LabelPolicy()
    until = read[-1].time
    history = read_history(read, topics=topics, policy=policy, until=until, max_message_bytes=1_000_000)
    bundle = directory / "bundle"
    train(history, policy=policy, until=until, parameters=FAST, names=NAMES).write(bundle)
    profile = load_bundle(bundle).profile
    assert profile is not None
    outside = 0
    for event in events:
        if event["type"] == "application":
            pay, remote = event["job_features"][0] * 1_000, event["job_features"][1]
            event["job_features"] = [pay, remote]
            outside += not profile.job.least[0] <= pay <= profile.job.most[0]
    changed = directory / "changed.jsonl"
    changed.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return Drifted(bundle, changed, outside)
