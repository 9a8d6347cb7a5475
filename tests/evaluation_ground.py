"""A small simulated log, a bundle trained on its first weeks, and what the stages say of the rest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from builders import DAY, START

from stream_qa.bundle import Bundle, load_bundle
from stream_qa.durations import HOUR
from stream_qa.evaluation.replayed import Replayed, replayed
from stream_qa.labels import LabelPolicy
from stream_qa.replay.log import LogEvent, read_log
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.training.history import read_history
from stream_qa.training.train import train

MARKET = Marketplace(members=60, jobs=25, days=70, applications=900, features=2)
SINCE = START + 35 * DAY
UNTIL = START + 50 * DAY


@dataclass(frozen=True)
class EvaluationGround:
    """What tests of the evaluation stand on."""

    settings: Settings
    events: list[LogEvent]
    bundle: Bundle

    def replayed(
        self, events: list[LogEvent] | None = None, *, since: int = SINCE, until: int = UNTIL, **settings: object
    ) -> Replayed:
        """Replay events, by default all, with other settings where they are given."""
        pipeline = build_pipeline(self.settings.model_copy(update=settings))
        chosen = self.events if events is None else events
        return replayed(chosen, pipeline=pipeline, bundle=self.bundle, since=since, until=until, longest=HOUR)


def new_evaluation_ground(directory: Path) -> EvaluationGround:
    """Write a log and a bundle, which has seen nothing from ``SINCE`` on, into ``directory``."""
    path = directory / "log.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(event) for event in simulate(MARKET, np.random.default_rng(1)).events()))
    settings = Settings(bundle=directory / "bundle")
    events = read_log([path], settings.topics).events
    history = read_history(
        events, topics=settings.topics, policy=LabelPolicy(), until=SINCE, max_message_bytes=settings.max_message_bytes
    )
    train(history, policy=LabelPolicy(), until=SINCE).write(directory / "bundle")
    return EvaluationGround(settings, events, load_bundle(directory / "bundle"))
