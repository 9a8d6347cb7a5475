"""Entities that a bundle's training knew start from its coefficients, whatever comes first."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from builders import START, as_records, label
from hypothesis import given, settings
from hypothesis import strategies as st
from label_partition import items

from stream_qa.events import Delta, Label, Message, Score, Snapshot, TopicNames, wire
from stream_qa.learning import BaseRate, FeatureSchema, Prior, RandomEffect, Standardisation
from stream_qa.learning.entity import entity_key, entity_type, unpack_many
from stream_qa.learning.entity_guard import EntityPolicy
from stream_qa.learning.guard import GUARD, GuardPolicy, Standing
from stream_qa.learning.starting import EntityCoefficients
from stream_qa.settings import Settings
from stream_qa.stages.guarded_publishing import held_key
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.models import Model, Models
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.share import Share
from stream_qa.stages.state import MemoryState

TOPICS = TopicNames()
PLAIN = Standardisation(20.0, np.zeros(1), np.ones(1))
RULES = ["adaptive-sgd", "sgd", "window"]
BEFORE = START - 1_000

every_rule = pytest.mark.parametrize("rule", RULES)


def fitted(*ids: str, first: float) -> EntityCoefficients:
    """Return coefficients ``(first, 1)`` of the first member, ``(first + 1, 1)`` of the second and so on."""
    numbers = np.arange(len(ids))
    coefficients = np.column_stack([first + numbers, np.ones(len(ids))])
    return EntityCoefficients(ids, coefficients, 10 + numbers, np.full(len(ids), BEFORE))


def model(number: int, start: EntityCoefficients | None, prior: Prior, rule: str) -> Model:
    used = build_pipeline(Settings.model_validate({"learning_rule": rule})).member.effect.rule
    version = f"model-{number}"
    effect = RandomEffect("member", prior, used, PLAIN, number, version, start)
    of_job = RandomEffect("job", prior, used, Standardisation(20.0, np.zeros(2), np.ones(2)), number, version)
    return Model(number, BaseRate(0.5, version), effect, of_job, FeatureSchema("two-and-one", 2, 1))


def learner(rule: str = "adaptive-sgd", *, warm_start: bool = True, second: bool = True) -> LearnStage[wire.Label]:
    """Return the members' stage: the first model knows members 0 to 2, the second 2 and 3."""
    models = Models(model(0, fitted("member-0", "member-1", "member-2", first=1.0), Prior(4.0, 16.0), rule))
    if second:
        models.add(model(5, fitted("member-2", "member-3", first=8.0), Prior(1.0, 2.0), rule))
    stage = build_pipeline(Settings.model_validate({"learning_rule": rule})).member
    # Nobody is held back: what is published is all that was learned.
    return replace(stage, models=models, warm_start=warm_start, guard=None)


def run(
    stage: LearnStage[wire.Label], chunks: Sequence[Sequence[Label]], *, state: MemoryState | None = None
) -> tuple[MemoryState, list[Message]]:
    """Take chunks, then let all entities start that are left."""
    state = MemoryState() if state is None else state
    messages: list[Message] = []
    waiting, unfinished = list(chunks), stage.warm_start
    while waiting or unfinished:
        outcome = stage.process(0, as_records(waiting.pop(0) if waiting else []), state)
        state.apply(outcome.changes)
        messages += outcome.messages
        unfinished = outcome.unfinished
    return state, messages


def entity(state: MemoryState, member: str, rule: str = "adaptive-sgd") -> np.void | None:
    [record] = state.get_many([entity_key(member)])
    if record is None:
        return None
    (read,) = unpack_many(entity_type(learner(rule).effect.rule, 2), [record])
    assert isinstance(read, np.void)
    return read


def deltas(messages: Sequence[Message]) -> list[Delta]:
    return [Delta.model_validate_json(m.value or b"") for m in messages if m.topic == TOPICS.coefficients]


def told(member: int, by: int = 0, *, application: str = "a", value: int | None = None, revision: int = 1) -> Label:
    return label(
        f"application-{application}-{member}",
        member_id=f"member-{member}",
        value=value,
        revision=revision,
        job_features=[2.0],
        model_number=by,
        model_version=f"model-{by}",
    )


def test_every_entity_that_the_model_knows_is_published_as_its_version_1_with_a_snapshot() -> None:
    _, messages = run(learner(), [])
    assert [(d.entity_id, d.base_version, d.version, d.labels, d.newest_at) for d in deltas(messages)] == [
        (f"member-{number}", 0, 1, 10 + number, BEFORE) for number in range(3)
    ]
    snapshots = [
        Snapshot.model_validate_json(m.value or b"") for m in messages if m.topic == TOPICS.coefficient_snapshots
    ]
    assert [(s.entity_id, s.version, s.model_version) for s in snapshots] == [
        (f"member-{number}", 1, "model-0") for number in range(3)
    ]
    for number, (delta, snapshot) in enumerate(zip(deltas(messages), snapshots, strict=True)):
        assert np.array(delta.change) == pytest.approx(np.array([1.0 + number, 1.0]), abs=1e-6)
        assert list(snapshot.coefficients) == list(delta.change)


def test_while_publishing_stops_nobody_is_published_who_starts_but_afterwards_is() -> None:
    stage, state = replace(learner(), guard=GuardPolicy()), MemoryState()
    state.apply({GUARD: Standing(harm=64.0, is_harmful=True).pack()})
    _, messages = run(stage, [], state=state)
    assert messages == []
    held = [held_key(f"member-{number}") for number in range(3)]
    assert held == [key for key, _ in state.scan(b"held/", b"held0")]
    stopped = Standing.unpack(*state.get_many([GUARD]))
    assert (stopped.held, stopped.reasons) == (3, ["harm"])

    stopped.is_harmful = False
    state.apply({GUARD: stopped.pack()})
    _, messages = run(stage, [], state=state)
    assert [(d.entity_id, d.base_version, d.version) for d in deltas(messages)] == [
        (f"member-{number}", 0, 1) for number in range(3)
    ]
    assert list(state.scan(b"held/", b"held0")) == []


def test_one_who_starts_beyond_the_bound_is_held_back() -> None:
    stage, state = replace(learner(), guard=GuardPolicy(entities=EntityPolicy(bound=2.5))), MemoryState()
    outcome = stage.process(0, [], state)
    assert [delta.entity_id for delta in deltas(outcome.messages)] == ["member-0", "member-1"]
    assert list(outcome.held_back) == [("member-2", "bound")]
    assert list(outcome.notices) == ["held back one by one: bound 1"]


def test_only_those_of_the_partition_start_there() -> None:
    state = MemoryState()
    outcome = learner().process(0, [], state, Share(2, lambda member: member != "member-1"))
    assert [delta.entity_id for delta in deltas(outcome.messages)] == ["member-0", "member-2"]
    assert not outcome.unfinished


@every_rule
def test_a_first_application_is_scored_by_what_was_fitted(rule: str) -> None:
    _, messages = run(learner(rule), [[told(1), told(3)]])
    known, unknown = (Score.model_validate_json(m.value or b"") for m in messages if m.topic == TOPICS.scores)
    assert known.member_log_odds == pytest.approx(2.0 + 1.0 * 2.0)
    assert known.member_version == 1
    assert (unknown.member_log_odds, unknown.member_version) == (0.0, 0)


@every_rule
def test_what_is_fitted_stays_where_labels_say_the_same_and_moves_less_the_more_is_behind_it(rule: str) -> None:
    moved = []
    for labels in (1, 100):
        start = replace(fitted("member-0", first=0.5), labels=np.array([labels]))
        stage = learner(rule, second=False)
        stage = replace(stage, models=Models(model(0, start, Prior(4.0, 16.0), rule)))
        state, _ = run(stage, [[told(0, value=0)]])
        found = entity(state, "member-0", rule)
        assert found is not None
        moved.append(abs(found["coefficients"][0] - 0.5 / 0.5))
    assert moved[1] > 0
    # Plain steps are as long whatever is behind them.
    assert moved[1] < moved[0] / 2 or rule == "sgd"


rows = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 0, 5]), st.sampled_from([None, 0, 1])), max_size=12)


@every_rule
@settings(max_examples=60)
@given(rows, st.lists(st.integers(0, 12), max_size=4), st.integers(1, 4))
def test_any_cut_and_any_pace_of_starting_come_to_the_same_state(
    rule: str, rows: list[tuple[int, int, int | None]], cuts: list[int], pace: int
) -> None:
    events = [told(member, by, application=str(place), value=value) for place, (member, by, value) in enumerate(rows)]
    ends = [*sorted(cuts), len(events)]
    chunks = [events[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_qa.stages.learn_chunk.AT_A_TIME", pace)
        cut, sent = run(learner(rule), chunks)
    at_once, _ = run(learner(rule), [[], *([event] for event in events)])
    assert items(cut) == items(at_once)
    held: dict[str, int] = {}
    for delta in deltas(sent):
        assert delta.base_version == held.get(delta.entity_id, 0)
        held[delta.entity_id] = delta.version


def test_a_newer_model_starts_those_that_are_not_known_yet() -> None:
    state, _ = run(learner(), [[told(0)], [told(4, 5)]])
    numbers = {}
    for member in range(5):
        found = entity(state, f"member-{member}")
        numbers[member] = None if found is None else (int(found["model"]), int(found["version"]))
    # Member 2 started by the first model, though nothing was heard of it before the second; member 4 nobody knows.
    assert numbers == {0: (0, 1), 1: (0, 1), 2: (0, 1), 3: (5, 1), 4: None}


def test_what_was_learned_is_not_started_anew() -> None:
    state, _ = run(learner(warm_start=False), [[told(0, value=1)]])
    before = items(state)[entity_key("member-0")]
    run(learner(), [], state=state)
    assert items(state)[entity_key("member-0")] == before


def test_a_fit_of_nobody_lets_everybody_learn_from_nothing() -> None:
    stage = replace(learner(), models=Models(model(0, fitted(first=1.0), Prior(4.0, 16.0), "adaptive-sgd")))
    state, _ = run(stage, [[told(0, value=1)]])
    unstarted, _ = run(replace(stage, warm_start=False), [[told(0, value=1)]])
    assert items(state)[entity_key("member-0")] == items(unstarted)[entity_key("member-0")]


def test_without_the_setting_nothing_starts() -> None:
    state, messages = run(learner(warm_start=False), [[]])
    assert (items(state), messages) == ({}, [])
