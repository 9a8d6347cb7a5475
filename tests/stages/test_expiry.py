"""Entities of which nothing was heard for long: their state goes, servers are told, and they may come again."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from builders import DAY, START, as_records, label
from hypothesis import given, settings
from hypothesis import strategies as st
from label_partition import items

from stream_qa.coefficients import Tombstone, read_delta, read_snapshot
from stream_qa.coefficients.protocol import Coefficients, Verdict, follow
from stream_qa.errors import SettingsError
from stream_qa.events import Label, Message, Score, TopicNames, wire
from stream_qa.labels import LabelPolicy
from stream_qa.labels.event_time import NOT_BEGUN
from stream_qa.learning.entity import entity_key, entity_type, unpack_many
from stream_qa.settings import Settings
from stream_qa.stages.expiry import Expiry
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.learn_parts import Part, day_of, parts_of
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.share import Share
from stream_qa.stages.state import MemoryState

TOPICS = TopicNames()
IDLE_DAYS = 60
FIRST_DAY = START - START % DAY

every_rule = pytest.mark.parametrize("rule", ["adaptive-sgd", "sgd", "window"])


def learner(rule: str = "adaptive-sgd", idle_days: float = IDLE_DAYS) -> LearnStage[wire.Label]:
    return build_pipeline(Settings.model_validate({"learning_rule": rule, "idle_days": idle_days})).member


def told(member: int, day: float, *, value: int | None = 1, origin: int = 0, number: int = 0) -> Label:
    """Return an application's only label, made on a day after the first."""
    moment = START + round(day * DAY)
    return label(
        f"application-{member}-{day}-{number}",
        member_id=f"member-{member}",
        value=value,
        applied_at=moment,
        happened_at=moment,
        watermark=moment,
        origin=origin,
    )


def run(
    stage: LearnStage[wire.Label], chunks: Sequence[Sequence[Label]], share: Share | None = None
) -> tuple[MemoryState, list[Message]]:
    """Take chunks, each until nothing is left to do."""
    state, messages = MemoryState(), list[Message]()
    for chunk in chunks:
        unfinished, records = True, as_records(chunk)
        while unfinished:
            outcome = stage.process(0, records, state, share or Share())
            state.apply(outcome.changes)
            messages += outcome.messages
            unfinished, records = outcome.unfinished, []
    return state, messages


def known(state: MemoryState) -> list[str]:
    return [key.decode() for key, _ in state.scan(b"entity/", b"entity0")]


def tombstones(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(m.topic, (m.key or b"").decode()) for m in messages if m.value is None]


def followed(messages: Sequence[Message]) -> dict[str, Coefficients]:
    """Return what a server holds that has seen all of it; there is no gap."""
    held: dict[str, Coefficients] = {}
    for message in messages:
        read = {TOPICS.coefficients: read_delta, TOPICS.coefficient_snapshots: read_snapshot}.get(message.topic)
        if read is None or message.key is None:
            continue
        change = read(message.key, message.value)
        after, verdict = follow(held.pop(change.entity_id, None), change)
        assert verdict is not Verdict.GAP
        if after is not None:
            held[change.entity_id] = after
    return held


def test_an_entity_without_a_label_for_long_is_dropped_and_servers_are_told() -> None:
    state, messages = run(learner(), [[told(0, 0), told(1, 40)], [told(2, 70)]])
    assert known(state) == ["entity/member-1", "entity/member-2"]
    assert tombstones(messages) == [
        (TOPICS.coefficients, "member:member-0"),
        (TOPICS.coefficient_snapshots, "member:member-0"),
    ]
    assert sorted(followed(messages)) == ["member-1", "member-2"]


def test_one_that_comes_again_begins_anew() -> None:
    state, messages = run(learner(), [[told(0, 0)], [told(0, 100, value=None)], [told(0, 100, number=1)]])
    scores = [Score.model_validate_json(m.value or b"") for m in messages if m.topic == TOPICS.scores]
    assert [(score.member_log_odds, score.member_version) for score in scores] == [(0.0, 0)] * 3
    (record,) = unpack_many(entity_type(learner().effect.rule, 2), state.get_many([entity_key("member-0")]))
    fresh, _ = run(learner(), [[told(0, 100, number=1)]])
    (expected,) = unpack_many(entity_type(learner().effect.rule, 2), fresh.get_many([entity_key("member-0")]))
    assert record.tobytes() == expected.tobytes()
    assert followed(messages)["member-0"].version == 1


@pytest.mark.parametrize(("milliseconds", "over"), [(0, True), (1, False)])
def test_it_is_over_when_its_newest_label_is_as_old_as_the_limit(milliseconds: int, over: bool) -> None:
    entities = unpack_many(entity_type(learner().effect.rule, 2), [None])
    entities["version"], entities["newest_at"] = 3, FIRST_DAY - IDLE_DAYS * DAY + milliseconds
    assert Expiry(IDLE_DAYS * DAY).over(entities, FIRST_DAY).tolist() == [over]
    assert Expiry(IDLE_DAYS * DAY).over(entities, NOT_BEGUN).tolist() == [False]
    entities["version"] = 0
    assert Expiry(IDLE_DAYS * DAY).over(entities, FIRST_DAY).tolist() == [False]


def test_a_label_in_time_keeps_it() -> None:
    state, messages = run(learner(), [[told(0, 0)], [told(0, 59)], [told(1, 110)]])
    assert known(state) == ["entity/member-0", "entity/member-1"]
    assert tombstones(messages) == []


def test_without_a_limit_nothing_is_dropped() -> None:
    state, messages = run(learner(idle_days=0), [[told(0, 0)], [told(1, 20_000)]])
    assert len(known(state)) == 2
    assert tombstones(messages) == []
    assert b"sweep" not in items(state)


@pytest.mark.parametrize(("partitions", "dropped"), [(2, True), (3, False)])
def test_the_slowest_origin_decides_and_all_must_have_begun(partitions: int, dropped: bool) -> None:
    share = Share(partitions)
    chunks = [[told(0, 0)], [told(1, 300)], [told(2, 50, origin=1)]]
    state, _ = run(learner(), chunks, share)
    assert "entity/member-0" in known(state)
    state, _ = run(learner(), [*chunks, [told(3, 200, origin=1)]], share)
    assert ("entity/member-0" not in known(state)) == dropped


def test_a_sweep_goes_over_the_table_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_qa.stages.expiry.AT_A_TIME", 3)
    stage, state = learner(), MemoryState()
    state.apply(stage.process(0, as_records([told(member, 0) for member in range(8)]), state).changes)
    while (outcome := stage.process(0, [], state)).unfinished:
        state.apply(outcome.changes)
    state.apply(outcome.changes)
    left = []
    records = as_records([told(9, 100)])
    while (outcome := stage.process(0, records, state)).unfinished:
        state.apply(outcome.changes)
        left.append(len(known(state)))
        records = []
    state.apply(outcome.changes)
    # Eight, and the ninth that has just come.
    assert left == [6, 3, 1]
    assert known(state) == ["entity/member-9"]


rows = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.5, 20.0, 58.0, 61.0]), st.sampled_from([None, 0, 1])),
    max_size=12,
)


@every_rule
@settings(max_examples=75)
@given(rows, st.lists(st.integers(0, 12), max_size=4))
def test_any_cut_into_chunks_comes_to_the_same_state_and_the_same_outputs(
    rule: str, rows: list[tuple[int, float, int | None]], cuts: list[int]
) -> None:
    day, events = 0.0, []
    for number, (member, later, value) in enumerate(rows):
        day += later
        events.append(told(member, day, value=value, number=number))
    ends = [*sorted(cuts), len(events)]
    cut, sent = run(learner(rule), [events[start:end] for start, end in zip([0, *ends], ends, strict=False)])
    single, sent_singly = run(learner(rule), [[event] for event in events])
    assert items(cut) == items(single)
    for topic in (TOPICS.scores, TOPICS.examples):
        assert [m for m in sent if m.topic == topic] == [m for m in sent_singly if m.topic == topic]
    held = followed(sent)
    assert held.keys() == followed(sent_singly).keys() == {key.removeprefix("entity/") for key in known(cut)}
    for entity_id, coefficients in held.items():
        (record,) = unpack_many(entity_type(learner(rule).effect.rule, 2), cut.get_many([entity_key(entity_id)]))
        assert coefficients.version == record["version"]
        published = learner(rule).effect.published(record["coefficients"][np.newaxis])
        assert published[0].tobytes() == coefficients.vector.tobytes()


def test_it_must_not_come_before_the_last_revision() -> None:
    refusal = "STREAM_QA_IDLE_DAYS is 41, and must be at least 42: a label may be of an answer from 14 days before its"
    with pytest.raises(SettingsError, match=refusal):
        build_pipeline(Settings(idle_days=41))
    assert build_pipeline(Settings(idle_days=42)).job.expiry == Expiry(42 * DAY)


@every_rule
def test_what_an_early_answer_taught_is_there_until_its_last_revision(rule: str) -> None:
    """The earliest answer that decides is taken back at the last moment at which it can be, with which a day begins."""
    policy = LabelPolicy()
    applied_at = FIRST_DAY + 20 * DAY + 1
    last = applied_at + policy.retention - 1
    early = label("a", applied_at=applied_at, value=1, happened_at=applied_at - policy.orphan_wait + 1)
    early = early.model_copy(update={"watermark": applied_at})
    late = early.model_copy(update={"revision": 2, "value": 0, "happened_at": last, "watermark": last})
    shortest = (policy.retention + policy.orphan_wait) / DAY
    after, _ = run(learner(rule, idle_days=shortest), [[early], [late]])
    unlimited, _ = run(learner(rule, idle_days=0), [[early], [late]])
    key = entity_key("member-1")
    assert after.get_many([key]) == unlimited.get_many([key])


# Where a chunk is cut.


def test_a_part_begins_where_a_day_of_the_slowest_origin_begins() -> None:
    events = [
        told(0, 0.1), told(0, 0.2, origin=1), told(0, 0.3), told(0, 5), told(0, 0.4, origin=1),
        told(0, 3, origin=1), told(0, 6), told(0, 7, origin=1),
    ]  # fmt: skip
    clocks: dict[int, int] = {}
    read = [wire.Label(**{name: getattr(event, name) for name in wire.Label.__struct_fields__}) for event in events]
    days = [NOT_BEGUN, *(FIRST_DAY + day * DAY for day in (0, 3, 6))]
    assert parts_of(read, 0, clocks, 2) == [
        Part(0, 1, days[0]), Part(1, 5, days[1]), Part(5, 7, days[2]), Part(7, 8, days[3])
    ]  # fmt: skip
    assert day_of(clocks, 2) == days[3]
    assert parts_of([], 0, clocks, 2) == []


def test_a_tombstone_is_one_for_the_stores() -> None:
    _, messages = run(learner(), [[told(0, 0)], [told(1, 90)]])
    (found,) = [m for m in messages if m.value is None and m.topic == TOPICS.coefficients]
    assert isinstance(read_delta(found.key or b"", found.value), Tombstone)


def test_what_was_fitted_long_ago_does_not_start() -> None:
    from test_warm_start import fitted, model  # noqa: PLC0415 # shares its models with that page

    from stream_qa.learning import Prior  # noqa: PLC0415
    from stream_qa.stages.models import Models  # noqa: PLC0415

    start = replace(fitted("member-0", "member-1", first=1.0), newest_at=np.array([START, START + 50 * DAY]))
    models = Models(model(0, start, Prior(4.0, 16.0), "adaptive-sgd"))
    stage = replace(learner(), models=models, warm_start=True)
    late = [told(3, 70, value=None)], [told(0, 80, value=None)], [told(1, 80, value=None)]
    assert known(run(stage, late)[0]) == ["entity/member-1"]
    # Those that start before time has begun are over when a label comes, and do not start again.
    state, messages = run(stage, [[], *late])
    assert known(state) == ["entity/member-1"]
    assert sorted(followed(messages)) == ["member-1"]
