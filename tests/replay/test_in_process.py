"""A log through all three stages in one process, against an oracle that knows no streaming."""

import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from builders import DAY, START, application, engagement
from label_oracle import Outcome, event_of, expected_outcomes, last_outcomes, without_moment_of_silence

from stream_qa.events import Application, Decoder, Engagement, Label, Message, Record, TopicNames
from stream_qa.events.fields import Event
from stream_qa.labels import LabelPolicy
from stream_qa.replay.in_process import InProcessReplay, label_to_the_end
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.replay.report import Report
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.label import LabelStage
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.stages.state import Outcome as StageOutcome
from stream_qa.streaming.partitioner import partition_of

TOPICS = TopicNames()
SMALL = Marketplace(members=60, jobs=25, days=35, applications=400, features=3)


def simulated_lines(seed: int) -> list[bytes]:
    return [orjson.dumps(event) for event in simulate(SMALL, np.random.default_rng(seed)).events()]


def replayed(lines: Iterable[bytes], partitions: int, directory: Path) -> Report:
    """Replay lines in chunks of at most 100 events and a day; what was emitted is in the directory."""
    directory.mkdir()
    path = directory / "log"
    path.write_bytes(b"\n".join(lines))
    log = read_log([path], TOPICS)
    with Report(TOPICS, directory) as report:
        report.count_events(log.events)
        stages = InProcessReplay(build_pipeline(Settings()), partitions, report)
        for chunk in chunks(log.events, most=100, longest=DAY):
            stages.run(chunk)
    return report


def labels_in(directory: Path) -> list[Label]:
    decoded = Decoder(Label).decode((directory / "labels.jsonl").read_bytes().splitlines())
    labels = [label for label in decoded if isinstance(label, Label)]
    assert len(labels) == len(decoded)
    return labels


@pytest.mark.parametrize("seed", range(1, 21))
def test_the_final_labels_of_a_simulated_marketplace_are_those_of_the_oracle(tmp_path: Path, seed: int) -> None:
    """Each partition has an event time of its own: the end of its inputs decides what is closed."""
    partitions = [1, 3, 8][seed % 3]
    lines = simulated_lines(seed)
    report = replayed(lines, partitions, tmp_path / "emitted")
    by_partition: dict[int, list[Event]] = defaultdict(list)
    for event in (event_of(orjson.loads(line)) for line in lines):
        assert isinstance(event, Application | Engagement)
        by_partition[partition_of(event.job_id.encode(), partitions)].append(event)
    histories: dict[int, dict[str, list[Label]]] = defaultdict(lambda: defaultdict(list))
    for label in labels_in(tmp_path / "emitted"):
        histories[label.origin][label.application_id].append(label)
    assert set(histories) == set(by_partition)
    found = {
        partition: {name: without_moment_of_silence(outcome) for name, outcome in last_outcomes(history).items()}
        for partition, history in histories.items()
    }
    assert found == {partition: expected_outcomes(events, LabelPolicy()) for partition, events in by_partition.items()}
    # The history is one in which all that can happen does.
    assert {"opened", "window-closed", "explicit:rejected"} <= set(report.label_reasons)
    assert report.counts()["dead_letters"] == 0


def test_every_application_is_scored_once_and_every_change_of_its_label_is_learned_from(tmp_path: Path) -> None:
    counts = replayed(simulated_lines(seed=2), 3, tmp_path / "emitted").counts()
    assert counts["scores"] == counts["applications"] == counts["labels"]["by_reason"]["opened"]
    known: dict[str, tuple[int | None, float]] = {}
    changes = 0
    for label in labels_in(tmp_path / "emitted"):
        before = known.get(label.application_id, (None, 0.0))
        known[label.application_id] = (label.value, label.weight)
        changes += known[label.application_id] != before
    assert counts["examples"] == changes > 0
    assert counts["deltas"] > 0


def test_the_label_stage_tells_how_many_examples_will_come_of_its_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = 0
    process = LabelStage.process

    def listening(*arguments: Any) -> StageOutcome:  # noqa: ANN401 # passed on as they come
        nonlocal told
        outcome = process(*arguments)
        told += outcome.lessons
        return outcome

    monkeypatch.setattr(LabelStage, "process", listening)
    counts = replayed(simulated_lines(seed=2), 3, tmp_path / "emitted").counts()
    assert told == counts["examples"] > 0


def test_a_shuffled_log_emits_the_same_bytes(tmp_path: Path) -> None:
    lines = simulated_lines(seed=3)
    replayed(lines, 2, tmp_path / "in-order")
    random.Random(3).shuffle(lines)  # noqa: S311 - the order of a test
    replayed(lines, 2, tmp_path / "shuffled")
    for path in (tmp_path / "in-order").glob("*.jsonl"):
        assert path.read_bytes() == (tmp_path / "shuffled" / path.name).read_bytes()


def test_records_without_a_key_are_dead_letters_of_the_first_partition_each_with_its_offset(tmp_path: Path) -> None:
    lines = [b'{"type": "application"}', b'{"type": "application", "job_id": 7}', b'{"type": "engagement"}']
    report = replayed(lines, 8, tmp_path / "emitted")
    assert report.counts()["dead_letters_by_reason"] == {"InvalidEventError": 3}
    dead_letters = map(orjson.loads, (tmp_path / "emitted" / "dead-letters.jsonl").read_bytes().splitlines())
    assert [(dead["topic"], dead["partition"], dead["offset"]) for dead in dead_letters] == [
        ("applications", "0", "0"),
        ("applications", "0", "1"),
        ("engagements", "0", "0"),
    ]


def test_an_application_as_large_as_may_be_is_labelled_scored_and_learned_from() -> None:
    """What the stages tell each other is larger than the application, and has no limit."""
    applied = application(member_features=[0.25] * 300).model_dump_json().encode()
    answered = engagement().model_dump_json().encode()
    with Report(TOPICS) as report:
        pipeline = build_pipeline(Settings(max_message_bytes=len(applied), notify_per_job_and_day=1))
        stages = InProcessReplay(pipeline, 1, report)
        stages.run([LogEvent(START, 0, applied, b"job-1", TOPICS.applications)])
        stages.run([LogEvent(START + DAY, 0, answered, b"job-1", TOPICS.engagements)])
        stages.run([LogEvent(START + DAY, 0, applied + b" ", b"job-1", TOPICS.applications)])
    counts = report.counts()
    assert counts["dead_letters_by_reason"] == {"MessageTooLargeError": 1}
    assert (counts["scores"], counts["examples"], counts["deltas"]) == (1, 1, 2)


def test_what_the_last_chunk_brings_about_is_in_the_output_however_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here: members of whom nothing was heard for long are dropped, a few at a time."""
    monkeypatch.setattr("stream_qa.stages.expiry.AT_A_TIME", 3)
    emitted = Emitted()
    stages = InProcessReplay(build_pipeline(Settings(idle_days=42)), 1, emitted)
    members = {f"member-{number}" for number in range(20)}
    for member_id in members:
        stages.run(heard_back(member_id, START))
    for days in (25, 50, 75):
        stages.run(heard_back("another", START + days * DAY))
    assert {key.removeprefix("member:") for key in emitted.dropped} & members == members


def heard_back(member_id: str, moment: int) -> list[LogEvent]:
    """Return an application of a member and a positive engagement, both of a moment (ms)."""
    name = f"{member_id}-{moment}"
    return [
        LogEvent(moment, order, event.model_dump_json().encode(), b"job-1", topic)
        for order, event, topic in (
            (0, application(name, member_id=member_id, applied_at=moment), TOPICS.applications),
            (1, engagement(application_id=name, engaged_at=moment), TOPICS.engagements),
        )
    ]


class Emitted:
    """Keeps whose coefficients servers were told to drop."""

    def __init__(self) -> None:
        self.dropped: set[str] = set()

    def add(self, message: Message) -> None:
        if message.topic == TOPICS.coefficient_snapshots and message.value is None:
            self.dropped.add((message.key or b"").decode())


def test_each_partition_of_each_stage_has_a_table_of_its_own() -> None:
    tables: dict[str, MemoryState] = {}
    stages = InProcessReplay(
        build_pipeline(Settings()), 2, Report(TOPICS), lambda name: tables.setdefault(name, MemoryState())
    )
    assert sorted(tables) == [f"{stage}-{n}" for stage in ("job", "label", "member", "notify") for n in (0, 1)]
    job_id = next(f"job-{number}" for number in range(100) if partition_of(f"job-{number}".encode(), 2) == 1)
    value = orjson.dumps(
        {
            "application_id": "application-1",
            "member_id": "member-1",
            "job_id": job_id,
            "applied_at": START,
            "feature_schema": "none",
            "member_features": [],
            "job_features": [],
        }
    )
    stages.run([LogEvent(START, 0, value, job_id.encode(), TOPICS.applications)])
    assert list(tables["label-0"].scan(b"", b"\xff")) == []
    assert list(tables["label-1"].scan(b"", b"\xff")) != []


@pytest.mark.shared_data
def test_the_final_labels_of_all_pull_requests_are_those_of_the_oracle(pull_requests: Path) -> None:
    stage, state, nothing = build_pipeline(Settings()).label, MemoryState(), MemoryState()
    found: dict[str, Outcome] = {}
    for number, chunk in enumerate(chunks(read_log([pull_requests], TOPICS).events, most=5_000, longest=30 * DAY)):
        records = [Record(event.topic, 0, number, event.key, event.value) for event in chunk]
        for outcome in label_to_the_end(stage, 0, records, state, nothing):
            for message in outcome.messages:
                assert message.topic == TOPICS.labels
                fields = orjson.loads(message.value or b"")
                found[fields["application_id"]] = Outcome(*(fields[name] for name in Outcome._fields))
    with pull_requests.open("rb") as log:
        # Built without validation: the log is valid, and is large.
        events = [constructed(orjson.loads(line)) for line in log]
    assert len(found) == 212_047
    expected = expected_outcomes(events, LabelPolicy())
    assert {name: without_moment_of_silence(outcome) for name, outcome in found.items()} == expected


def constructed(line: dict[str, Any]) -> Event:
    return (Application if line.pop("type") == "application" else Engagement).model_construct(**line)
