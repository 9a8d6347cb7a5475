"""How soon applications have a label that can be learned from, by what silence says.

    python benchmarks/label_delay.py LOG --bundle BUNDLE [--from 2012-10-01]

The log goes through the label stage alone, once a rule: wait for the window's end; ``later-response``; the bundle's
curve of age; its curves of age and activity. Applications from ``--from`` on are counted.
"""

import argparse
import statistics
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from stream_qa.bundle import load_bundle
from stream_qa.durations import DAY
from stream_qa.events import Record, TopicNames, wire
from stream_qa.labels import LabelPolicy
from stream_qa.labels.curves import SilenceCurves
from stream_qa.labels.policy import Silence, SilenceRule
from stream_qa.replay.in_process import label_to_the_end
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.settings import Settings
from stream_qa.stages.label import LabelStage
from stream_qa.stages.models import Models
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.streaming.garbage import collect_rarely

CHUNK = 5_000
LONGEST = 30 * DAY


def main() -> None:
    """Replay the log by each rule and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("log", type=Path)
    arguments.add_argument("--bundle", type=Path, required=True)
    arguments.add_argument("--from", dest="since", default="1970-01-01")
    options = arguments.parse_args()
    since = round(datetime.fromisoformat(options.since).replace(tzinfo=UTC).timestamp() * 1000)
    curves = load_bundle(options.bundle).curves
    if curves is None:
        arguments.error("the bundle has no silence curves")
    events = read_log([options.log], TopicNames()).events
    collect_rarely()
    stage = build_pipeline(Settings()).label
    rules: dict[str, tuple[SilenceRule, SilenceCurves | None]] = {
        "wait for the window's end": (SilenceRule.NONE, None),
        "an answer to a later one": (SilenceRule.LATER_RESPONSE, None),
        "curve of age": (SilenceRule.CURVE, SilenceCurves(curves.ages, curves.by_age)),
        "curves of age and activity": (SilenceRule.CURVE, curves),
    }
    print(
        "| silence | median days to a label | within 1 day | within 7 days | silent labels an application | by reason |"
    )
    print("|---|---|---|---|---|---|")
    for name, (rule, of_bundle) in rules.items():
        policy = LabelPolicy(silence=Silence(rule=rule))
        models = Models(replace(stage.models.first, curves=of_bundle))
        print(f"| {name} | {row(replace(stage, policy=policy, models=models), events, since)} |")


def row(stage: LabelStage, events: list[LogEvent], since: int) -> str:
    """Return the figures of one rule."""
    state, nothing = MemoryState(), MemoryState()
    decode = msgspec.json.Decoder(wire.Label).decode
    reasons: Counter[str] = Counter()
    usable: dict[str, int] = {}
    seen: defaultdict[str, int] = defaultdict(int)
    for number, chunk in enumerate(chunks(events, CHUNK, LONGEST)):
        records = [Record(event.topic, 0, number, event.key, event.value) for event in chunk]
        messages = [message for one in label_to_the_end(stage, 0, records, state, nothing) for message in one.messages]
        for label in (decode(message.value or b"") for message in messages if message.topic == stage.topics.labels):
            if label.applied_at >= since:
                reasons[label.reason] += 1
                seen[label.application_id] += label.reason.startswith("silence:")
                if label.weight > 0:
                    usable.setdefault(label.application_id, label.happened_at - label.applied_at)
    days = [milliseconds / DAY for milliseconds in usable.values()]
    within = [sum(one <= most for one in days) / len(seen) for most in (1, 7)]
    by_reason = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    silent = sum(seen.values()) / len(seen)
    return f"{statistics.median(days):.2f} | {within[0]:.1%} | {within[1]:.1%} | {silent:.2f} | {by_reason}"


if __name__ == "__main__":
    main()
