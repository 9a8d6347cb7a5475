"""Messages of every schema as they are written today: by the stages, and those that only others write."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from builders import DAY, application, engagement

from stream_qa.events import Event, Generation, Message, PublishedModel, Tick, TopicNames
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.topics import load_declarations
from stream_qa.topics.contract import as_json, json_schemas

MARKET = Marketplace(members=20, jobs=8, days=30, applications=150, features=2)
MODEL = PublishedModel(
    version="2026-01-05-abc", location="/models/one", sha256="0" * 64, feature_schema="two-and-one (2 and 1)"
)
OTHERS: list[Event] = [
    application(),
    application(global_log_odds=-0.5),
    engagement(engagement_id="e-1"),
    Tick(partition=1, reached_at=5, applications=True, engagements=False),
    MODEL,
    Generation(generation=2, bundle=MODEL),
]
_SOME = 8


class _Emitted:
    """Keeps some messages of each topic, of all through the log."""

    def __init__(self) -> None:
        self.by_topic: defaultdict[str, list[Any]] = defaultdict(list)

    def add(self, message: Message) -> None:
        if message.value is not None:
            self.by_topic[message.topic].append(orjson.loads(message.value))


def written_messages() -> dict[str, list[Any]]:
    """Return messages by the names of their schemas."""
    topics, emitted = TopicNames(), _Emitted()
    settings = Settings(notify_per_job_and_day=5, notify_probability=0.0, notify_least_steps=0)
    stages = InProcessReplay(build_pipeline(settings), 1, emitted)
    for chunk in chunks(_events(topics), 50, DAY):
        stages.run(chunk)
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for declaration in load_declarations():
        if declaration.message != "bytes":
            messages = emitted.by_topic[topics.of_declared(declaration.name)]
            found[declaration.message] += messages[:: max(1, len(messages) // _SOME)]
    for event in OTHERS:
        found[type(event).__name__].append(event.model_dump(mode="json"))
    return found


def _events(topics: TopicNames) -> list[LogEvent]:
    events: list[dict[str, Any]] = list(simulate(MARKET, np.random.default_rng(1)).events())
    kinds = {"application": (topics.applications, "applied_at"), "engagement": (topics.engagements, "engaged_at")}
    found = []
    for number, event in enumerate(events):
        topic, time = kinds[event["type"]]
        found.append(LogEvent(event[time], number, orjson.dumps(event), event["job_id"].encode(), topic))
    return found


def keep(directory: Path) -> None:
    """Write the schemas of today, and messages of each, into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, schema in json_schemas(load_declarations()).items():
        (directory / f"{name}.json").write_text(as_json(schema))
    lines = [
        json.dumps({"schema": name, "message": message})
        for name, messages in sorted(written_messages().items())
        for message in messages
    ]
    (directory / "messages.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
