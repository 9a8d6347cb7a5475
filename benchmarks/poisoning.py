"""What bad input does to served coefficients, with the guard and without, and how soon the guard notices.

    python benchmarks/poisoning.py [--seed 0] [--attacks ATTACK ...] [--log LOG --bundle BUNDLE]

Each attack begins in the middle of a simulated marketplace of twelve weeks and goes on to its end. Applications from
then on are scored as servers would: by the coefficients that were published when they arrived, and by right features;
the AUC is against what really becomes of them. Without the guard servers hold what workers know: what is learned does
not depend on the guard. With ``--log`` a log of your own is replayed as well, and what the guard says of it is printed:
on good data nothing.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from stream_qa.coefficients import CoefficientStore, read_delta
from stream_qa.coefficients.messages import Change
from stream_qa.durations import DAY, HOUR
from stream_qa.events import EntityKind, Message, SourceRecord
from stream_qa.learning import Standardisation, published_log_odds
from stream_qa.learning.arrays import Floats
from stream_qa.learning.entity import entity_key, entity_type, unpack_many
from stream_qa.learning.metrics import auc
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.settings import Settings
from stream_qa.simulation import EventLog, Marketplace, simulate
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import Pipeline, build_pipeline
from stream_qa.stages.share import ALL, Share
from stream_qa.stages.state import MemoryState, Outcome, StateReader
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.streaming.partitioner import partition_of

PARTITIONS = 4
FEATURE = 0
FLOOD_DAYS = 7

Event = dict[str, Any]
Attack = Callable[[list[Event], int, np.random.Generator], list[Event]]


@dataclass(frozen=True)
class Watched(LearnStage[Any]):
    """A learner that remembers what its guard says, and after how many labels."""

    found: "Found" = field(default_factory=lambda: Found())  # noqa: PLW0108 # defined below

    def process(
        self, partition: int, records: Sequence[SourceRecord], state: StateReader, share: Share = ALL
    ) -> Outcome:
        """Process a chunk."""
        outcome = super().process(partition, records, state, share)
        place = f"{self.name}-{partition}"
        if self.found.attacked:
            self.found.labels[place] += sum(b'"value":null' not in (record.value or b"") for record in records)
        self.found.said += [(place, self.found.labels[place], notice) for notice in outcome.notices]
        self.found.held += [(self.name, entity_id, why) for entity_id, why in outcome.held_back]
        return outcome


@dataclass
class Found:
    """What guards have said."""

    attacked: bool = False
    labels: Counter[str] = field(default_factory=Counter)
    """Labels with a value since the attack, by stage and partition."""
    said: list[tuple[str, int, str]] = field(default_factory=list)
    """Where, after how many labels, what."""
    held: list[tuple[str, str, str]] = field(default_factory=list)
    """Stage, entity, why."""


@dataclass
class Server:
    """Takes in deltas, as a server that follows them."""

    topic: str
    store: CoefficientStore = field(default_factory=CoefficientStore)
    waiting: list[Change] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """Take in what the stages emit."""
        if message.topic == self.topic:
            self.waiting.append(read_delta(message.key, message.value))

    def vectors(self, side: EntityKind, entity_ids: Sequence[str], dimension: int) -> Floats:
        """Return what is served of entities, shape ``(n, dimension)``."""
        self.store.apply(self.waiting)
        self.waiting.clear()
        return self.store.look_up(side, entity_ids, dimension).vectors


@dataclass
class Counted:
    """Counts the messages of one topic, and passes all on."""

    topic: str
    onwards: Server
    count: int = 0

    def add(self, message: Message) -> None:
        """Take in what the stages emit."""
        self.count += message.topic == self.topic
        self.onwards.add(message)


@dataclass
class Tables:
    """What workers know, and so what a server holds where nothing is held back."""

    pipeline: Pipeline
    states: dict[str, MemoryState] = field(default_factory=dict)

    def state(self, name: str) -> MemoryState:
        """Return the table of a stage's partition."""
        return self.states.setdefault(name, MemoryState())

    def vectors(self, side: EntityKind, entity_ids: Sequence[str], dimension: int) -> Floats:
        """Return what is known of entities, as it is published, shape ``(n, dimension)``."""
        effect = (self.pipeline.member if side == "member" else self.pipeline.job).effect
        records = [
            self.state(f"{side}-{partition_of(entity_id.encode(), PARTITIONS)}").get_many([entity_key(entity_id)])[0]
            for entity_id in entity_ids
        ]
        return effect.published(unpack_many(entity_type(effect.rule, dimension), records)["coefficients"])


def watched(settings: Settings) -> tuple[Pipeline, Found]:
    """Return the stages, and what their guards will say."""
    found = Found()
    pipeline = build_pipeline(settings)

    def watching(stage: LearnStage[Any]) -> Watched:
        return Watched(**{name: getattr(stage, name) for name in stage.__dataclass_fields__}, found=found)

    return replace(pipeline, member=watching(pipeline.member), job=watching(pipeline.job)), found


# Attacks: events in the order of time, and from when on they are changed.


def clean(events: list[Event], _since: int, _random: np.random.Generator) -> list[Event]:
    """Change nothing."""
    return events


def flipped(events: list[Event], since: int, random: np.random.Generator) -> list[Event]:
    """Say the opposite of every application from then on: answers are rejections, and who got none gets one."""
    late = {event["application_id"]: event for event in events if event.get("applied_at", 0) >= since}
    changed, answered = [], set()
    for event in events:
        if "engaged_at" in event and event["application_id"] in late:
            answered.add(event["application_id"])
            changed.append({**event, "kind": "message" if event["kind"] == "rejected" else "rejected"})
        else:
            changed.append(event)
    return in_order(
        [
            *changed,
            *(
                engagement(application, application["applied_at"] + round(random.uniform(0.5, 6.0) * DAY))
                for name, application in late.items()
                if name not in answered
            ),
        ]
    )


def swapped(events: list[Event], since: int, _random: np.random.Generator) -> list[Event]:
    """Call answers rejections from then on, and rejections answers; silence stays silence."""
    return [
        {**event, "kind": "message" if event["kind"] == "rejected" else "rejected"}
        if event.get("engaged_at", 0) >= since
        else event
        for event in events
    ]


def with_feature(change: Callable[[float], float]) -> Callable[[str], Attack]:
    """Return what makes an attack on the first feature of a side."""

    def of(side: str) -> Attack:
        def attack(events: list[Event], since: int, _random: np.random.Generator) -> list[Event]:
            return [
                {**event, side: [*event[side][:FEATURE], change(event[side][FEATURE]), *event[side][FEATURE + 1 :]]}
                if event.get("applied_at", 0) >= since
                else event
                for event in events
            ]

        return attack

    return of


def sometimes_no_number(events: list[Event], since: int, random: np.random.Generator) -> list[Event]:
    """Write NaN in place of the first member feature of half of the applications."""
    half = with_feature(lambda value: float("nan") if random.random() < 0.5 else value)  # noqa: PLR2004 # half
    return half("member_features")(events, since, random)


def flooded(events: list[Event], since: int, _random: np.random.Generator) -> list[Event]:
    """Answer all applications to one popular job: those of two weeks at once, those of the next week as they come."""
    name = flooded_job(events, since)
    applications = [
        event
        for event in events
        if event["job_id"] == name and since - 14 * DAY <= event.get("applied_at", 0) < since + FLOOD_DAYS * DAY
    ]
    fakes = [
        engagement(application, max(application["applied_at"] + 60_000, since + number * 1_000))
        for number, application in enumerate(applications)
    ]
    return in_order([*events, *fakes])


def flooded_job(events: list[Event], since: int) -> str:
    """Return the job with most applications in the two weeks before and the two after."""
    before, after = (
        Counter(event["job_id"] for event in events if start <= event.get("applied_at", 0) < start + 14 * DAY)
        for start in (since - 14 * DAY, since)
    )
    return str(max(sorted(before), key=lambda job: min(before[job], after[job])))


def engagement(application: Event, engaged_at: int) -> Event:
    """Return a message about an application."""
    name = application["application_id"]
    return {
        "type": "engagement",
        "engagement_id": f"fake-{name}",
        "application_id": name,
        "job_id": application["job_id"],
        "kind": "message",
        "engaged_at": engaged_at,
    }


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return events in the order of time."""
    return sorted(events, key=time_of)


def time_of(event: Event) -> int:
    """Return when an event happened (ms)."""
    return int(event["applied_at"] if "applied_at" in event else event["engaged_at"])


ATTACKS: dict[str, Attack] = {
    "none": clean,
    "all labels flipped": flipped,
    "answers and rejections swapped": swapped,
    "a member feature constant": with_feature(lambda _value: 1.0)("member_features"),
    "a member feature times 1,000": with_feature(lambda value: 1_000 * value)("member_features"),
    "a job feature times 1,000": with_feature(lambda value: 1_000 * value)("job_features"),
    "a member feature NaN in half": sometimes_no_number,
    "one job flooded with answers": flooded,
}


@dataclass(frozen=True)
class Row:
    """What came of an attack."""

    found: Found
    dead_letters: int
    scores: dict[str, float]
    """Log-odds by application, of those from the attack on, as they are served with the guard."""
    without: dict[str, float]
    """The same without."""


def attacked(truth: EventLog, events: list[Event], since: int, directory: Path) -> Row:
    """Replay attacked events; score each application from ``since`` (ms) on as a server would."""
    settings = Settings()
    path = directory / "log.jsonl"
    # orjson would write null where there is no number.
    path.write_text("\n".join(json.dumps(event) for event in events))
    log = read_log([path], settings.topics)
    pipeline, found = watched(settings)
    server, tables = Server(settings.topics.coefficients), Tables(pipeline)
    dead = Counted(settings.topics.dead_letters, server)
    stages = InProcessReplay(pipeline, PARTITIONS, dead, tables.state)
    number = {f"application-{row:06}": row for row in range(truth.applied_at.size)}
    scores: dict[str, float] = {}
    without: dict[str, float] = {}
    for chunk in chunks(log.events, 1_000, HOUR):
        found.attacked = chunk[-1].time >= since
        ids = [application["application_id"] for application in applications_of(chunk, settings, since)]
        rows = [number[name] for name in ids]
        scores.update(zip(ids, served(truth, rows, server), strict=True))
        without.update(zip(ids, served(truth, rows, tables), strict=True))
        stages.run(chunk)
    return Row(found, len(log.dead_letters) + dead.count, scores, without)


def applications_of(chunk: Sequence[LogEvent], settings: Settings, since: int) -> list[Event]:
    """Return the applications of a chunk that count."""
    return [
        json.loads(event.value)
        for event in chunk
        if event.topic == settings.topics.applications and event.time >= since and event.value is not None
    ]


def served(truth: EventLog, rows: list[int], server: Server | Tables) -> list[float]:
    """Return log-odds by what a server holds and by right features."""
    if not rows:
        return []
    clipped = Standardisation()
    of_members, of_jobs = (
        clipped.apply(features) for features in (truth.member_features[rows], truth.job_features[truth.job[rows]])
    )
    members, jobs = [f"member-{row:05}" for row in truth.member[rows]], [f"job-{row:04}" for row in truth.job[rows]]
    by_member = published_log_odds(server.vectors("member", members, 1 + of_jobs.shape[1]), of_jobs)
    by_job = published_log_odds(server.vectors("job", jobs, 1 + of_members.shape[1]), of_members)
    return list((truth.global_log_odds[rows] + by_member + by_job).tolist())


def area(truth: EventLog, scores: dict[str, float], job: int | None = None) -> float:
    """Return the AUC of scores against what really became of applications, of one job or of all."""
    rows = np.array([int(name.removeprefix("application-")) for name in scores])
    values = np.array(list(scores.values()))
    if job is not None:
        values, rows = values[truth.job[rows] == job], rows[truth.job[rows] == job]
    return auc(truth.outcome[rows].astype(float), values) or float("nan")


def noticed(found: Found) -> str:
    """Return in words what the guard said first."""
    stops = [(labels, place) for place, labels, notice in found.said if notice.startswith("no coefficients")]
    flood = [(labels, place) for place, labels, notice in found.said if "one by one" in notice]
    words = []
    if stops:
        reasons = sorted({"labels" if "labels" in text else "harm" for _, _, text in found.said if text[:2] == "no"})
        places = sorted({place for _, place in stops})
        words.append(f"{min(stops)[0]:,} ({', '.join(places)}: {', '.join(reasons)})")
    if flood:
        kinds = Counter((stage, why) for stage, _, why in found.held if why != "released")
        words.append(
            f"{min(flood)[0]:,} ({', '.join(f'{count} {stage}s: {why}' for (stage, why), count in kinds.items())})"
        )
    return "; ".join(words) or "not noticed"


def table(seed: int, names: Sequence[str]) -> list[str]:
    """Return the lines of the table."""
    market = Marketplace()
    truth = simulate(market, np.random.default_rng(seed))
    events = list(truth.events())
    since = market.start + market.days // 2 * DAY
    lines = [
        "| attack | noticed after labels of the partition | AUC, global model alone | without guard | with guard |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        changed = ATTACKS[name](events, since, np.random.default_rng(seed))
        with tempfile.TemporaryDirectory() as directory:
            guarded = attacked(truth, changed, since, Path(directory))
        alone = {app: float(truth.global_log_odds[int(app.removeprefix("application-"))]) for app in guarded.scores}
        areas = [area(truth, scores) for scores in (alone, guarded.without, guarded.scores)]
        said = noticed(guarded.found)
        if guarded.dead_letters:
            said = f"{guarded.dead_letters:,} applications are dead letters; {said}"
        lines.append(f"| {name} | {said} | {' | '.join(f'{value:.4f}' for value in areas)} |")
        print(lines[-1], flush=True)
        if name.startswith("one job"):
            job = int(flooded_job(events, since).removeprefix("job-"))
            kept = [area(truth, scores, job) for scores in (alone, guarded.without, guarded.scores)]
            error = [surplus(truth, scores, job) for scores in (alone, guarded.without, guarded.scores)]
            lines.append(f"| of it, the job alone | | {' | '.join(f'{value:.4f}' for value in kept)} |")
            lines.append(f"| expected over real answers of it | | {' | '.join(f'{value:.2f}' for value in error)} |")
            print("\n".join(lines[-2:]), flush=True)
    return lines


def surplus(truth: EventLog, scores: dict[str, float], job: int) -> float:
    """Return the answers that scores expect for a job, over those that it really gives."""
    rows = np.array([int(name.removeprefix("application-")) for name in scores])
    values = np.array(list(scores.values()))[truth.job[rows] == job]
    return float((1 / (1 + np.exp(-values))).sum() / truth.outcome[rows[truth.job[rows] == job]].sum())


def said_of(log: Path, bundle: Path | None) -> Found:
    """Replay a log, and return what guards say of it."""
    settings = Settings(bundle=bundle)
    pipeline, found = watched(settings)
    found.attacked = True
    events = read_log([log], settings.topics).events
    collect_rarely()
    stages = InProcessReplay(pipeline, PARTITIONS, Server(""))
    for chunk in chunks(events, 1_000, HOUR):
        stages.run(chunk)
    return found


def main() -> None:
    """Attack, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--attacks", nargs="*", default=list(ATTACKS), choices=list(ATTACKS))
    arguments.add_argument("--log", type=Path, help="a log of your own, taken to be good")
    arguments.add_argument("--bundle", type=Path, help="a bundle for it")
    options = arguments.parse_args()
    if options.attacks:
        print("\n".join(table(options.seed, options.attacks)))
    if options.log is not None:
        found = said_of(options.log, options.bundle)
        for place, labels, notice in found.said:
            print(f"{place}, after {labels:,} labels: {notice}")
        held = Counter((stage, why) for stage, _, why in found.held)
        print(f"{sum(found.labels.values()):,} labels of both sides; held back: {dict(held)}")


if __name__ == "__main__":
    main()
