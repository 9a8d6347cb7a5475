"""The stage in the worker of this project, in place of its label stage."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import orjson
import uvloop

from stream_qa.errors import NotJSONError
from stream_qa.events import Message, SourceRecord, dead_letter
from stream_qa.settings import load_settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import Outcome, StateReader
from stream_qa.streaming.faust_app import ChunkApp

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
settings = load_settings()


class Counting:
    """Counts the events of each key."""

    def process(self, _partition: int, records: Sequence[SourceRecord], state: StateReader, *_: Any) -> Outcome:  # noqa: ANN401
        """Return what a chunk changes and sends."""
        outcome = Outcome({}, [])
        versions: defaultdict[bytes, int] = defaultdict(int)
        keys = [record.key or b"" for record in records]
        for key, stored in zip(keys, state.get_many(keys), strict=True):
            versions[key] = 0 if stored is None else int.from_bytes(stored, "big")
        for record, key in zip(records, keys, strict=True):
            try:
                orjson.loads(record.value or b"")
            except orjson.JSONDecodeError as error:
                reason = NotJSONError(str(error))
                outcome.messages.append(dead_letter(settings.topics.dead_letters, "count", record, reason))
                continue
            versions[key] += 1
            outcome.messages.append(Message(settings.topics.scores, key, orjson.dumps({"version": versions[key]})))
        outcome.changes.update({key: version.to_bytes(8, "big") for key, version in versions.items()})
        return outcome


counting = Counting()
stages = cast("Any", counting)
app = ChunkApp(settings, replace(build_pipeline(settings), label=stages, member=stages, job=stages))
app.read(settings.topics.applications, settings.topics.engagements, by="label")
app.read(settings.topics.labels, by="member")
app.read(settings.topics.examples, by="job")
