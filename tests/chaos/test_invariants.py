"""Every invariant holds where nothing went wrong, and says so where something did: here without a broker."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from ground import PARTITIONS
from msgspec import structs
from refolding import Log, Refolded, decoded, refold

from chaos import invariants
from chaos.evidence import Evidence, Table
from chaos.invariants import INVARIANTS, all_differences, dead_letters_are_exactly_the_bad_inputs
from chaos.log import BAD, MAX_MESSAGE_BYTES, ORPHAN, draw_log
from chaos.server import held
from stream_qa.coefficients import CoefficientStore, read_delta
from stream_qa.events import Decoder, Label, Message, Record
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent
from stream_qa.replay.report import Report
from stream_qa.settings import Settings
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import Changes, MemoryState
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.positions import CHANGELOG_MARK, UNKNOWN_TOPIC, Mark

SETTINGS = Settings(
    snapshot_every=3,
    max_message_bytes=MAX_MESSAGE_BYTES,
    notify_per_job_and_day=1,
    notify_probability=0.3,
    notify_least_steps=0,
)
TOPICS = SETTINGS.topics
CHUNK = 50

Logs = dict[str, dict[int, list[Record]]]


class KeptReport(Report):
    """Appends what is emitted to logs."""

    logs: Logs

    def add(self, message: Message) -> None:
        append(self.logs, message)


class KeptState(MemoryState):
    """Appends its changes to a changelog, and is read as a table."""

    def __init__(self, name: str, logs: Logs) -> None:
        super().__init__()
        stage, _, number = name.partition("-")
        self.changelog = logs[getattr(TOPICS, f"{stage}_changelog")][int(number)]

    def apply(self, changes: Changes) -> None:
        super().apply(changes)
        self.changelog.extend(Record("", 0, offset, *entry) for offset, entry in enumerate(changes.items(), self.end))

    @property
    def end(self) -> int:
        return len(self.changelog)

    def table(self) -> dict[bytes, bytes]:
        return {**dict(self.scan(b"", b"\xff" * 64)), CHANGELOG_MARK: Mark(self.end - 1, 0, UNKNOWN_TOPIC).pack()}


def append(logs: Logs, message: Message) -> None:
    partition = 0 if message.topic == TOPICS.dead_letters else partition_of(message.key, PARTITIONS)
    log = logs[message.topic][partition]
    log.append(Record(message.topic, partition, len(log), message.key, message.value, message.headers))


@pytest.fixture(scope="module")
def whole() -> Evidence:
    """Give what a worker leaves behind that nothing has struck."""
    # More bad input than usual, so that few events have every kind of it.
    deliveries = draw_log(seed=12, applications=800, topics=TOPICS, bad_share=0.1)
    logs: Logs = {topic: {number: [] for number in range(PARTITIONS)} for topic in TOPICS.all()}
    states: dict[str, KeptState] = {}

    def new_state(name: str) -> KeptState:
        states[name] = KeptState(name, logs)
        return states[name]

    report = KeptReport(TOPICS)
    report.logs = logs
    pipeline = build_pipeline(SETTINGS)
    stages = InProcessReplay(pipeline, PARTITIONS, report, new_state)
    for start in range(0, len(deliveries), CHUNK):
        chunk = deliveries[start : start + CHUNK]
        for delivery in chunk:
            headers = [] if delivery.bad is None else [(BAD, delivery.bad.encode())]
            append(logs, Message(delivery.topic, delivery.key, delivery.value, headers))
        stages.run([LogEvent(0, 0, d.value, d.key, d.topic) for d in chunk])  # type: ignore[arg-type] # None is bad input
    tables = {name: state.table() for name, state in states.items()}
    server = CoefficientStore()
    for records in logs[TOPICS.coefficients].values():
        server.apply([read_delta(record.key, record.value) for record in records])
    return Evidence(SETTINGS, pipeline, deliveries, logs, tables, {"a": tables}, {}, held(server))


@pytest.fixture(scope="module", autouse=True)
def folded_once(whole: Evidence) -> Iterator[None]:
    """Fold a log once that tests leave as it is: each time takes a second."""
    unchanged = {id(log) for log in whole.topics.values()}
    folded: dict[int, Refolded] = {}

    def refold_once(stage: LearnStage[Any], log: Log) -> Refolded:
        if id(log) in folded:
            return folded[id(log)]
        refolded = refold(stage, log)
        if id(log) in unchanged:
            folded[id(log)] = refolded
        return refolded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invariants, "refold", refold_once)
        yield


def test_the_log_has_every_kind_of_bad_input_and_repeated_events(whole: Evidence) -> None:
    assert len({delivery.bad for delivery in whole.delivered if delivery.bad}) == 9
    usual = draw_log(seed=11, applications=5_000, topics=TOPICS)
    bad = sum(delivery.bad is not None for delivery in usual)
    again = sum(delivery.bad is None and delivery.event is None for delivery in usual)
    assert 0.008 < bad / len(usual) < 0.012
    assert 0.015 < again / len(usual) < 0.025


def test_the_same_seed_gives_the_same_log() -> None:
    first, again, other = (draw_log(seed, applications=200, topics=TOPICS) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_nothing_differs_where_nothing_went_wrong(whole: Evidence) -> None:
    assert all_differences(whole) == {}


def without(whole: Evidence, topic: str, wrong: Callable[[Record], bool] = lambda _: True) -> Evidence:
    """Return evidence that lacks the last record of a topic for which ``wrong`` holds."""
    return with_log(whole, topic, wrong, lambda _: [])


def twice(whole: Evidence, topic: str, wrong: Callable[[Record], bool] = lambda _: True) -> Evidence:
    """Return evidence in which that record is there twice."""
    return with_log(whole, topic, wrong, lambda record: [record, record])


def with_log(
    whole: Evidence, topic: str, wrong: Callable[[Record], bool], instead: Callable[[Record], list[Record]]
) -> Evidence:
    for number, records in whole.topics[topic].items():
        for index in reversed(range(len(records))):
            if wrong(records[index]):
                changed = [*records[:index], *instead(records[index]), *records[index + 1 :]]
                logs = {**whole.topics, topic: {**whole.topics[topic], number: changed}}
                return replace(whole, topics=logs)
    raise AssertionError(f"{topic} has no such record")


def is_final(record: Record) -> bool:
    return b'"final":true' in (record.value or b"")


def is_by_an_answer(record: Record) -> bool:
    return b'"reason":"explicit:' in (record.value or b"") and not is_final(record)


def cut(record: Record) -> list[Record]:
    """Return a record with another value."""
    return [structs.replace(record, value=b"cut")]


def with_a_later_version(record: Record) -> list[Record]:
    """Return a snapshot that says it is of a later version."""
    return [structs.replace(record, value=(record.value or b"").replace(b'"version":', b'"version":9'))]


def is_first(whole: Evidence) -> Callable[[Record], bool]:
    """Return whether a label is the first of a partition, which others follow."""
    return lambda record: any(record == records[0] for records in whole.topics[TOPICS.labels].values())


def is_only(whole: Evidence) -> Callable[[Record], bool]:
    """Return whether a label is the only one of its application."""
    labels = decoded(Decoder(Label), whole.records(TOPICS.labels))
    counts = Counter(label.application_id for label in labels)
    only = {label.application_id for label in labels if counts[label.application_id] == 1}
    return lambda record: orjson.loads(record.value or b"")["application_id"] in only


def is_of(kind: str) -> Callable[[Record], bool]:
    return lambda record: (record.key or b"").startswith(kind.encode())


def with_table(tables: Mapping[str, Table], name: str) -> dict[str, Table]:
    """Return tables of which one has another value under one key."""
    key = next(key for key in tables[name] if key != CHANGELOG_MARK)
    return {**tables, name: {**tables[name], key: b"another"}}


@pytest.mark.parametrize(
    ("invariant", "went_wrong"),
    [
        ("input_is_complete", lambda whole: without(whole, TOPICS.applications)),
        ("decided_labels_equal_those_of_a_replay", lambda whole: without(whole, TOPICS.labels, is_final)),
        ("decided_labels_equal_those_of_a_replay", lambda whole: without(whole, TOPICS.labels, is_by_an_answer)),
        ("every_revision_is_there_once", lambda whole: twice(whole, TOPICS.labels)),
        ("every_revision_is_there_once", lambda whole: without(whole, TOPICS.labels, is_first(whole))),
        ("decided_labels_equal_those_of_a_replay", lambda whole: without(whole, TOPICS.labels, is_only(whole))),
        ("members_learn_each_revision_once", lambda whole: twice(whole, TOPICS.examples)),
        ("members_learn_each_revision_once", lambda whole: without(whole, TOPICS.examples)),
        ("members_learn_each_revision_once", lambda whole: twice(whole, TOPICS.scores)),
        ("members_learn_each_revision_once", lambda whole: twice(whole, TOPICS.coefficients, is_of("member"))),
        ("members_learn_each_revision_once", lambda whole: without(whole, TOPICS.coefficients, is_of("member"))),
        ("members_learn_each_revision_once", lambda whole: without(whole, TOPICS.member_changelog)),
        ("jobs_learn_each_example_once", lambda whole: twice(whole, TOPICS.coefficients, is_of("job"))),
        ("jobs_learn_each_example_once", lambda whole: without(whole, TOPICS.coefficients, is_of("job"))),
        ("jobs_learn_each_example_once", lambda whole: without(whole, TOPICS.job_changelog)),
        (
            "servers_hold_what_the_workers_do",
            lambda whole: with_log(whole, TOPICS.coefficient_snapshots, lambda _: True, with_a_later_version),
        ),
        (
            "servers_hold_what_the_workers_do",
            lambda whole: replace(whole, followed=dict(list(whole.followed.items())[1:])),
        ),
        ("servers_hold_what_the_workers_do", lambda whole: without(whole, TOPICS.job_changelog, is_of("entity/"))),
        ("jobs_are_told_of_their_matches_once", lambda whole: twice(whole, TOPICS.notifications)),
        ("jobs_are_told_of_their_matches_once", lambda whole: without(whole, TOPICS.notifications)),
        ("jobs_are_told_of_their_matches_once", lambda whole: without(whole, TOPICS.notify_changelog)),
        ("no_transaction_is_open", lambda whole: replace(whole, not_readable={("labels", 2): 5})),
        ("dead_letters_are_exactly_the_bad_inputs", lambda whole: twice(whole, TOPICS.dead_letters)),
        ("dead_letters_are_exactly_the_bad_inputs", lambda whole: without(whole, TOPICS.dead_letters)),
        (
            "dead_letters_are_exactly_the_bad_inputs",
            lambda whole: with_log(
                whole, TOPICS.dead_letters, lambda _: True, lambda r: [structs.replace(r, value=b"cut")]
            ),
        ),
        (
            "a_fresh_worker_restores_the_changelog",
            lambda whole: replace(whole, restored=with_table(whole.restored, "label-1")),
        ),
        (
            "local_tables_hold_committed_state_only",
            lambda whole: replace(whole, kept={"a": with_table(whole.kept["a"], "job-2")}),
        ),
        ("local_tables_hold_committed_state_only", lambda whole: without(whole, TOPICS.label_changelog)),
    ],
)
def test_what_went_wrong_is_seen(whole: Evidence, invariant: str, went_wrong: Callable[[Evidence], Evidence]) -> None:
    (holds,) = [function for function in INVARIANTS if function.__name__ == invariant]
    assert holds(went_wrong(whole))


def test_every_invariant_is_seen_to_fail() -> None:
    marks = [mark for mark in test_what_went_wrong_is_seen.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {invariant for invariant, _ in marks[0].args[1]} == {invariant.__name__ for invariant in INVARIANTS}


def test_an_orphan_is_expected_only_when_its_time_is_over(whole: Evidence) -> None:
    first = next(index for index, delivery in enumerate(whole.delivered) if delivery.bad == ORPHAN)
    differences = dead_letters_are_exactly_the_bad_inputs(replace(whole, delivered=whole.delivered[: first + 1]))
    assert differences
    assert all("is no bad input" in difference for difference in differences)
