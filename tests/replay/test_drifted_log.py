"""A log that is no longer like that of the training: what differs is named, and nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from builders import DAY

from stream_qa.bundle import Bundle, load_bundle
from stream_qa.coefficients import FeatureNames
from stream_qa.events import TopicNames
from stream_qa.labels import LabelPolicy
from stream_qa.learning.drift import About, Feature
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.replay.report import Report
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.training.history import read_history
from stream_qa.training.joint_fit import HyperParameters
from stream_qa.training.train import train

TOPICS = TopicNames()
NAMES = FeatureNames(member_features=["experience", "distance"], job_features=["pay", "remote"])
Fields = dict[str, Any]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[LogEvent]:
    path: Path = tmp_path_factory.mktemp("log") / "log.jsonl"
    market = Marketplace(days=84, applications=14_000, features=2)
    path.write_bytes(b"\n".join(orjson.dumps(event) for event in simulate(market, np.random.default_rng(7)).events()))
    return read_log([path], TOPICS).events


@pytest.fixture(scope="module")
def bundle(events: list[LogEvent], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give what was learned of the first half."""
    until = events[0].time + 42 * DAY
    history = read_history(events, topics=TOPICS, policy=LabelPolicy(), until=until, max_message_bytes=1_000_000)
    directory = tmp_path_factory.mktemp("models") / "bundle"
    fast = HyperParameters(prior_sweeps=3, most_sweeps=10)
    train(history, policy=LabelPolicy(), until=until, parameters=fast, names=NAMES).write(directory)
    return load_bundle(directory)


def found(bundle: Bundle, events: list[LogEvent], change: Callable[[Fields], Fields], *, most: int = 500) -> set[About]:
    """Return what is found in the second half, each event changed."""
    until = bundle.manifest.description.until
    later = [
        LogEvent(event.time, number, orjson.dumps(change(orjson.loads(event.value))), event.key, event.topic)
        for number, event in enumerate(events)
        if event.time >= until
    ]
    stages = InProcessReplay(build_pipeline(Settings(bundle=bundle.directory)), 2, Report(TOPICS))
    for chunk in chunks(later, most=most, longest=DAY):
        stages.run(chunk)
    return set(stages.findings)


def as_before(fields: Fields) -> Fields:
    return fields


def scaled(fields: Fields) -> Fields:
    if "member_features" in fields:
        fields["member_features"][1] *= 1_000
    return fields


def constant(fields: Fields) -> Fields:
    if "job_features" in fields:
        fields["job_features"][0] = 0.5
    return fields


def unanswered(fields: Fields) -> Fields:
    """Most messages and views are lost."""
    lost = fields.get("kind") in LabelPolicy().positive and int(fields["application_id"][-2:]) % 4 > 0
    return fields | {"kind": "lost"} if lost else fields


def slow(fields: Fields) -> Fields:
    """Answers come two days later."""
    return fields | {"engaged_at": fields["engaged_at"] + 2 * DAY} if "engaged_at" in fields else fields


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (as_before, set()),
        (scaled, {Feature("member", "distance")}),
        (constant, {Feature("job", "pay")}),
        (unanswered, {"positives"}),
        (slow, {"answers"}),
    ],
)
def test_what_differs_is_named(
    bundle: Bundle, events: list[LogEvent], change: Callable[[Fields], Fields], expected: set[About]
) -> None:
    assert found(bundle, events, change) == expected


def test_a_bundle_that_does_not_say_what_its_data_looked_like_is_read_and_nothing_is_found(
    bundle: Bundle, events: list[LogEvent], tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(bundle.directory, old)
    (old / "profile.json").unlink()
    manifest = orjson.loads((old / "manifest.json").read_bytes())
    del manifest["files"]["profile.json"]
    (old / "manifest.json").write_bytes(orjson.dumps(manifest))
    read = load_bundle(old)
    assert read.profile is None
    assert found(read, events, scaled) == set()
