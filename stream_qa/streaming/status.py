"""How everything is, for an operator: each thing is looked at by itself, so that one that fails hides no other."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import cast

from aiokafka.errors import KafkaError

from stream_qa.errors import RejectedError, StreamQAError
from stream_qa.events import Decoder, Label, WireDecoder, wire
from stream_qa.events.dead_letter import read_letter
from stream_qa.settings import Settings
from stream_qa.streaming.group_offsets import group_offsets
from stream_qa.streaming.health import LIVE_PATH, READY_PATH
from stream_qa.streaming.model_topic import published
from stream_qa.streaming.topic_range import reader, records_between
from stream_qa.topics import compare, layout, members, refusal

_ANSWER_SECONDS = 5.0
#: Dead letters are counted up to so many.
_MOST_LETTERS = 10_000
#: Events may be ahead of the clock by so much: clocks differ. More is a clock or a unit that is wrong.
_MOST_AHEAD_SECONDS = 3600
#: Offsets before the end of a partition among which its newest label is; others end transactions.
_LAST_OFFSETS = 100


@dataclass(frozen=True)
class Finding:
    """What was found of one thing."""

    what: str
    is_well: bool
    says: str
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """From where on something is not well."""

    lag: int
    """Records that the stages together may be behind."""
    letters: int
    """Dead letters that there may be lately."""
    seconds: float
    """How long lately is."""


async def findings(settings: Settings, workers: Sequence[str], limits: Limits) -> list[Finding]:
    """Look at the broker, the topics, the worker group, its dead letters and models, and at workers.

    Parameters
    ----------
    settings
        The group's.
    workers
        Addresses of workers' web servers, ``http://host:port``.
    limits
        What is too much.
    """
    of_workers = [_worker(address) for address in workers]
    problem = await refusal(settings.kafka)
    if problem is not None:
        return [Finding("broker", is_well=False, says=str(problem)), *await asyncio.gather(*of_workers)]
    looks = {
        "topics": _topics(settings),
        "workers": _members(settings),
        "lag": _lag(settings, limits.lag),
        "event time": _event_time(settings),
        "dead letters": _dead_letters(settings, limits),
        "model": _model(settings),
    }
    answers = Finding("broker", is_well=True, says=f"answers at {', '.join(settings.kafka.addresses)}")
    return [
        answers,
        *await asyncio.gather(*(_or_why_not(what, look) for what, look in looks.items())),
        *await asyncio.gather(*of_workers),
    ]


async def _or_why_not(what: str, look: Awaitable[Finding]) -> Finding:
    try:
        return await look
    except (StreamQAError, KafkaError, OSError) as error:
        return Finding(what, is_well=False, says=str(error) or type(error).__name__)


async def _topics(settings: Settings) -> Finding:
    # Whatever count they were created with: state is kept by it, and all must have it.
    partitions, _ = await layout(settings.kafka, settings.topics.applications)
    plan = await compare(settings.kafka, settings.topic_prefix, partitions, generation=settings.generation)
    count = len(plan.topics)
    if plan.pending or plan.refused:
        says = "not as declared: see stream-qa topics plan"
        return Finding("topics", is_well=False, says=says, figures={"topics": count})
    return Finding("topics", is_well=True, says=f"{count} as declared", figures={"topics": count})


async def _members(settings: Settings) -> Finding:
    count = await members(settings.kafka, settings.group_id)
    says = f"{count} in the group {settings.group_id}"
    return Finding("workers", is_well=count > 0, says=says, figures={"members": count})


async def _lag(settings: Settings, most: int) -> Finding:
    async with group_offsets(settings) as group:
        by_stage = await group.lag()
    total = sum(by_stage.values())
    says = f"{total} records: {', '.join(f'{stage} {count}' for stage, count in by_stage.items())}"
    return Finding("lag", is_well=total <= most, says=says, figures={"records": total, "by_stage": by_stage})


async def _event_time(settings: Settings) -> Finding:
    """Say how far behind the clock the slowest partition is, by its newest labels, and which are ahead of the clock."""
    watermarks: dict[int, int] = {}
    newest: dict[int, int] = {}
    decode = WireDecoder(wire.Label, Decoder(Label)).decode
    refused = 0
    async with reader(settings.kafka, settings.topics.labels) as consumer:
        places = sorted(consumer.assignment())
        beginnings, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        begin = {place: max(beginnings[place], ends[place] - _LAST_OFFSETS) for place in places}
        async with aclosing(records_between(consumer, begin, ends)) as records:
            async for record in records:
                [label] = decode([record.value])
                if isinstance(label, RejectedError):
                    refused += 1
                    continue
                origin, moment = label.origin, label.watermark
                # One input that runs ahead moves no watermark yet.
                newest[origin] = max(moment, label.applied_at, label.happened_at, newest.get(origin, moment))
                if moment > 0:  # else some input of the partition has never brought anything
                    watermarks[origin] = max(moment, watermarks.get(origin, moment))
    now = time.time()
    ahead = {origin: seconds for origin in sorted(newest) if (seconds := newest[origin] / 1000 - now) > 0}
    if watermarks:
        slowest = min(watermarks.values())
        behind = now - slowest / 1000
        at = datetime.fromtimestamp(slowest / 1000, UTC)
        side = "behind" if behind >= 0 else "ahead of"
        says = f"{at:%Y-%m-%d %H:%M:%S} UTC, {_duration(abs(behind))} {side} the clock, of the slowest partition"
        if len(newest) < len(places):
            # One that stands still has none, and so has one without events.
            says += f"; labels of {len(newest)} of {len(places)} are among the newest"
        figures: dict[str, object] = {
            "watermark": slowest,
            "behind_seconds": behind,
            "partitions": len(places),
            "partitions_among_newest": len(newest),
        }
    else:
        says, figures = "it has not begun", {}
    if refused:
        says += f"; {refused} of its last records are no labels"
        figures["not_labels"] = refused
    if not any(seconds > _MOST_AHEAD_SECONDS for seconds in ahead.values()):
        return Finding("event time", is_well=True, says=says, figures=figures)
    farthest = max(ahead, key=ahead.__getitem__)
    says += f"; events of partition {farthest} are {_duration(ahead[farthest])} ahead of the clock"
    return Finding("event time", is_well=False, says=says, figures={**figures, "ahead_seconds": ahead[farthest]})


async def _dead_letters(settings: Settings, limits: Limits) -> Finding:
    since = round((time.time() - limits.seconds) * 1000)
    reasons: Counter[str] = Counter()
    async with reader(settings.kafka, settings.topics.dead_letters) as consumer:
        places = sorted(consumer.assignment())
        ends = await consumer.end_offsets(places)
        found = await consumer.offsets_for_times(dict.fromkeys(places, since))
        begin = {place: ends[place] if found[place] is None else found[place].offset for place in places}
        async with aclosing(records_between(consumer, begin, ends)) as records:
            async for record in records:
                if (letter := read_letter(record)) is not None:
                    reasons[letter.reason] += 1
                if reasons.total() == _MOST_LETTERS:
                    break
    total = reasons.total()
    more = "at least " if total == _MOST_LETTERS else ""
    says = f"{more}{total} in the last {_duration(limits.seconds)}"
    if total:
        says += f": {', '.join(f'{reason} {count}' for reason, count in reasons.most_common())}"
    figures = {"letters": total, "by_reason": dict(reasons)}
    return Finding("dead letters", is_well=total <= limits.letters, says=says, figures=figures)


async def _model(settings: Settings) -> Finding:
    async with aclosing(published(settings.kafka, settings.topics.models)) as found:
        models = await anext(found)
    if not models:
        return Finding("model", is_well=True, says="none is published: workers use that with which the group began")
    number, model = models[-1]
    says = f"{model.version}, number {number}, is the newest that is published"
    return Finding("model", is_well=True, says=says, figures={"version": model.version, "number": number})


async def _worker(address: str) -> Finding:
    """Say what a worker says of itself."""
    pages = [await asyncio.to_thread(_asked, f"{address.rstrip('/')}{path}") for path in (LIVE_PATH, READY_PATH)]
    reasons = [str(reason) for page in pages for reason in page["reasons"]]
    held_back = [str(sentence) for page in pages for sentence in page.get("held_back", [])]
    says = "; ".join([*(reasons or ["alive and ready"]), *held_back])
    figures = {"reasons": reasons, "held_back": held_back}
    return Finding(f"worker {address}", is_well=not reasons, says=says, figures=figures)


def _asked(url: str) -> dict[str, list[object]]:
    """Return what a page says, with the reasons; or as a reason why it says nothing."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 # the operator's own
            text = answer.read()
    except urllib.error.HTTPError as error:
        text = error.read()
    except (OSError, ValueError) as error:
        return {"reasons": [f"{url} does not answer: {error}"]}
    try:
        said = json.loads(text)
        said["reasons"]
    except (ValueError, KeyError, TypeError):
        return {"reasons": [f"{url} is no page of a worker"]}
    return cast("dict[str, list[object]]", said)


def _duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    left = round(seconds)
    parts: list[str] = []
    for name, unit in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, unit)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(islice(parts, 2))
