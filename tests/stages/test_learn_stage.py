"""The learning stages, for members and for jobs, against one label at a time worked out by hand."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pytest
from builders import DAY, START, as_record, as_records, example, label
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stream_qa.errors import RuleMismatchError, StateFormatError
from stream_qa.events import (
    Decoder,
    Delta,
    EntityKind,
    Event,
    Example,
    Label,
    Message,
    Record,
    Score,
    Snapshot,
    TopicNames,
)
from stream_qa.events.fields import LEAST_PRECISION, MAX_FEATURES, MOST_FEATURE_BOUND, LogOdds
from stream_qa.learning.arrays import Floats
from stream_qa.learning.entity import FORMAT, clock_key, contribution_key, entity_key, entity_type, unpack_many
from stream_qa.learning.global_model import LOG_ODDS_BOUND
from stream_qa.learning.rule import Columns, Fields, Labels
from stream_qa.settings import Settings
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.share import Share
from stream_qa.stages.state import MemoryState, Outcome

PIPELINE = build_pipeline(Settings())
TOPICS = TopicNames()
RETENTION = 28 * DAY
FEATURES = 2
PARTITION = 3
ORIGINS = 2

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Side:
    """One of the two kinds of entities: which stage learns it, from which events."""

    kind: EntityKind
    stage: LearnStage[Any]
    standard_deviations: tuple[float, float, float]
    """Of the intercept and the slopes, by the prior precisions of the default settings."""

    def event(
        self,
        application_id: str = "application-1",
        *,
        entity: str = "entity-1",
        features: Sequence[float] = (2.0, -1.0),
        offset: float = 0.0,
        **fields: Any,  # noqa: ANN401
    ) -> Label | Example:
        if self.kind == "member":
            return label(
                application_id,
                member_id=entity,
                job_features=features,
                global_log_odds=offset - 0.25,
                job_log_odds=0.25,
                **fields,
            )
        return example(
            application_id,
            job_id=entity,
            member_features=features,
            global_log_odds=offset - 0.25,
            member_log_odds=0.25,
            **fields,
        )


MEMBER = Side("member", PIPELINE.member, (1 / np.sqrt(4), 1 / np.sqrt(16), 1 / np.sqrt(16)))
JOB = Side("job", PIPELINE.job, (1 / np.sqrt(2), 1 / np.sqrt(16), 1 / np.sqrt(16)))

both_sides = pytest.mark.parametrize("side", [MEMBER, JOB], ids=["member", "job"])
every_rule = pytest.mark.parametrize(
    "side",
    [
        MEMBER,
        JOB,
        Side("member", build_pipeline(Settings(learning_rule="sgd")).member, MEMBER.standard_deviations),
        Side("job", build_pipeline(Settings(learning_rule="window")).job, JOB.standard_deviations),
    ],
    ids=["member", "job", "member by sgd", "job by window"],
)


def widest(kind: EntityKind, rule: str) -> Side:
    """Return a side by the settings that let scores grow most."""
    settings = Settings.model_validate(
        {
            "guard": False,
            "learning_rule": rule,
            "learning_rate": 10.0,
            "feature_bound": MOST_FEATURE_BOUND,
            "member_intercept_precision": LEAST_PRECISION,
            "member_slope_precision": LEAST_PRECISION,
            "job_intercept_precision": LEAST_PRECISION,
            "job_slope_precision": LEAST_PRECISION,
        }
    )
    pipeline = build_pipeline(settings)
    return Side(kind, pipeline.member if kind == "member" else pipeline.job, (10.0, 10.0, 10.0))


class Learner:
    """A stage with its state and all that it has sent."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.state = MemoryState()
        self.messages: list[Message] = []

    def take(self, *events: Event) -> Outcome:
        return self.take_records(as_records(events, partition=PARTITION))

    def take_records(self, records: Sequence[Record]) -> Outcome:
        outcome = self.side.stage.process(PARTITION, records, self.state, Share(ORIGINS))
        self.state.apply(outcome.changes)
        self.messages += outcome.messages
        return outcome

    def sent(self, topic: str, model: type[E]) -> list[E]:
        events = []
        for event in Decoder(model).decode(message.value for message in self.messages if message.topic == topic):
            assert isinstance(event, model)
            events.append(event)
        return events

    def deltas(self) -> list[Delta]:
        return self.sent(TOPICS.coefficients, Delta)

    def items(self) -> list[tuple[bytes, bytes]]:
        return list(self.state.scan(b"", b"\xff"))

    def contributions(self) -> list[bytes]:
        return [key for key, _ in self.state.scan(b"contribution/", b"contribution0")]

    def entity(self, entity: str = "entity-1") -> np.void:
        (record,) = unpack_many(
            entity_type(self.side.stage.effect.rule, 1 + FEATURES), self.state.get_many([entity_key(entity)])
        )
        assert isinstance(record, np.void)
        return record


class Published(NamedTuple):
    """What a score or an example says of the entity."""

    application_id: str
    revision: int
    log_odds: float
    version: int


class ByHand:
    """One label at a time, with dictionaries: what the stage must come to, however its log is cut."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._rule = side.stage.effect.rule
        self._learned: dict[str, Columns] = {}
        self._newest: dict[str, int] = {}
        self._decays: defaultdict[str, float] = defaultdict(float)
        self._clocks: defaultdict[int, int] = defaultdict(lambda: -1)
        self._revisions: dict[str, int] = {}
        self._said: dict[str, tuple[int | None, float]] = {}
        self._added: dict[str, tuple[Columns, float]] = {}
        self.vectors: defaultdict[str, list[Floats]] = defaultdict(lambda: [np.zeros(1 + FEATURES)])
        """Of each entity, what servers multiply with raw features, by version."""
        self.opened: list[Published] = []
        self.learned_from: list[Published] = []

    def take(self, event: Label | Example) -> None:
        application_id = event.application_id
        self._clocks[event.origin] = max(self._clocks[event.origin], event.watermark)
        expired = self._clocks[event.origin] >= event.applied_at + RETENTION
        if expired or event.revision <= self._revisions.get(application_id, 0):
            return
        self._revisions[application_id] = event.revision

        if isinstance(event, Label):
            entity, raw, other_part = event.member_id, event.job_features, event.job_log_odds
        else:
            entity, raw, other_part = event.job_id, event.member_features, event.member_log_odds
        features = np.array([[1.0, *np.clip(raw, -20.0, 20.0)]]) * np.array(self._side.standard_deviations)
        offset = np.array([event.global_log_odds + other_part])
        learned = self._learned.get(entity, _zeros(self._rule.learned_fields(1 + FEATURES)))
        nothing = _zeros(self._rule.added_fields(1 + FEATURES)), 0.0
        added, added_at = self._added.get(application_id, nothing)
        if application_id in self._added:
            learned = self._rule.retract(learned, added, np.exp([added_at - self._decays[entity]]), features)

        versions = self.vectors[entity]
        log_odds = float((learned["coefficients"] * features).sum())
        seen = Published(application_id, event.revision, log_odds, len(versions) - 1)
        if event.revision == 1:
            self.opened.append(seen)
        says = (event.value, event.weight)
        if says == self._said.get(application_id, (None, 0.0)):
            return
        self.learned_from.append(seen)
        self._said[application_id] = says
        self._added.pop(application_id, None)
        newest = self._newest.get(entity, event.happened_at)
        days = max(event.happened_at - newest, 0) / DAY
        self._newest[entity] = max(event.happened_at, newest)
        self._decays[entity] += days / 365
        learned = self._rule.fade(learned, np.exp([-days / 365]))
        if event.value is not None and event.weight > 0:
            labels = Labels(features, offset, np.array([float(event.value)]), np.array([event.weight]))
            learned, adds = self._rule.step(learned, added, labels)
            self._added[application_id] = adds, self._decays[entity]
        self._learned[entity] = learned
        published = learned["coefficients"][0] * np.array(self._side.standard_deviations)
        versions.append(np.rint(published * 2**24) / 2**24)


def _zeros(fields: Fields) -> Columns:
    return {name: np.zeros((1, *shape), kind) for name, kind, shape in fields}


class Told(NamedTuple):
    """One label of a drawn log."""

    application: int
    revision: int
    value: int | None
    weight: float
    days: int
    """How far the origin's event time moves on with it."""


told = st.builds(
    Told,
    st.integers(0, 7),
    st.integers(1, 4),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0, 0, 0, 0, 0, 1, 5, 27]),
)


def log_of(side: Side, labels: Sequence[Told]) -> list[Label | Example]:
    """Return the events: eight applications of three entities from two origins, a day apart."""
    watermarks = [START, START]
    events = []
    for said in labels:
        origin = said.application % ORIGINS
        watermarks[origin] += said.days * DAY
        generator = np.random.default_rng(said.application)
        events.append(
            side.event(
                f"application-{said.application}",
                entity=f"entity-{said.application % 3}",
                features=generator.normal(scale=2, size=FEATURES).tolist(),
                offset=float(generator.normal()),
                revision=said.revision,
                value=said.value,
                weight=0.0 if said.value is None else said.weight,
                applied_at=START + said.application * DAY,
                happened_at=START + said.application * DAY + said.revision,
                origin=origin,
                watermark=watermarks[origin],
            )
        )
    return events


def pieces(events: Sequence[Label | Example], cuts: Sequence[int]) -> list[Sequence[Label | Example]]:
    ends = [*sorted(cuts), len(events)]
    return [events[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def fold(side: Side, chunks: Sequence[Sequence[Label | Example]]) -> Learner:
    learner = Learner(side)
    for chunk in chunks:
        learner.take(*chunk)
    return learner


def one_at_a_time(side: Side, events: Sequence[Label | Example]) -> Learner:
    return fold(side, [[event] for event in events])


@every_rule
@settings(max_examples=75)
@given(st.lists(told, max_size=25), st.lists(st.integers(0, 25), max_size=4))
def test_any_cut_into_chunks_gives_the_same_state_and_the_same_outputs(
    side: Side, labels: list[Told], cuts: list[int]
) -> None:
    events = log_of(side, labels)
    cut = fold(side, pieces(events, cuts))
    single = one_at_a_time(side, events)
    assert cut.items() == single.items()
    for topic in (TOPICS.scores, TOPICS.examples, TOPICS.dead_letters):
        assert [m for m in cut.messages if m.topic == topic] == [m for m in single.messages if m.topic == topic]


@every_rule
@settings(max_examples=75)
@given(st.lists(told, max_size=25), st.lists(st.integers(0, 25), max_size=4))
def test_deltas_are_contiguous_and_add_up_to_what_is_worked_out_by_hand(
    side: Side, labels: list[Told], cuts: list[int]
) -> None:
    events = log_of(side, labels)
    by_hand = ByHand(side)
    for event in events:
        by_hand.take(event)
    learner = fold(side, pieces(events, cuts))

    versions: defaultdict[str, int] = defaultdict(int)
    totals: defaultdict[str, Floats] = defaultdict(lambda: np.zeros(1 + FEATURES))
    for delta in learner.deltas():
        assert delta.entity_kind == side.kind
        assert delta.base_version == versions[delta.entity_id] < delta.version
        versions[delta.entity_id] = delta.version
        totals[delta.entity_id] = totals[delta.entity_id] + np.array(delta.change)
        assert np.array_equal(totals[delta.entity_id], by_hand.vectors[delta.entity_id][delta.version])
    assert dict(versions) == {
        entity: len(vectors) - 1 for entity, vectors in by_hand.vectors.items() if len(vectors) > 1
    }
    for snapshot in learner.sent(TOPICS.coefficient_snapshots, Snapshot):
        assert np.array_equal(snapshot.coefficients, by_hand.vectors[snapshot.entity_id][snapshot.version])


@settings(max_examples=75)
@given(st.lists(told, max_size=25), st.lists(st.integers(0, 25), max_size=4))
def test_scores_and_examples_carry_what_was_known_before_their_own_label(labels: list[Told], cuts: list[int]) -> None:
    events = log_of(MEMBER, labels)
    by_hand = ByHand(MEMBER)
    for event in events:
        by_hand.take(event)
    learner = fold(MEMBER, pieces(events, cuts))

    scores = learner.sent(TOPICS.scores, Score)
    assert [(s.application_id, s.member_log_odds, s.member_version) for s in scores] == [
        (seen.application_id, seen.log_odds, seen.version) for seen in by_hand.opened
    ]
    examples = learner.sent(TOPICS.examples, Example)
    assert [Published(e.application_id, e.revision, e.member_log_odds, e.member_version) for e in examples] == (
        by_hand.learned_from
    )


@every_rule
@settings(max_examples=75)
@given(st.lists(told, max_size=15), st.data())
def test_labels_that_come_again_at_any_time_change_nothing(side: Side, labels: list[Told], data: st.DataObject) -> None:
    events = log_of(side, labels)
    with_repeats: list[Label | Example] = []
    for position, event in enumerate(events):
        with_repeats.append(event)
        again = data.draw(st.lists(st.integers(0, position), max_size=2))
        with_repeats += [events[index] for index in again]

    learner, repeated = one_at_a_time(side, events), one_at_a_time(side, with_repeats)
    assert repeated.items() == learner.items()
    assert repeated.messages == learner.messages
    in_one_chunk = fold(side, [with_repeats])
    assert in_one_chunk.items() == learner.items()
    assert repeated.take(*with_repeats) == Outcome({}, [])


@both_sides
def test_an_older_revision_after_a_newer_one_changes_nothing(side: Side) -> None:
    learner = Learner(side)
    learner.take(side.event(revision=3, value=1))
    assert learner.take(side.event(revision=1), side.event(revision=2, value=0)) == Outcome({}, [])


@both_sides
@given(
    old=st.sampled_from([0, 1]),
    new=st.sampled_from([0, 1]),
    old_weight=st.floats(0.01, 1),
    new_weight=st.floats(0.01, 1),
    offset=st.floats(-5, 5),
)
def test_a_revision_is_as_if_the_label_before_had_never_been(
    side: Side, *, old: int, new: int, old_weight: float, new_weight: float, offset: float
) -> None:
    revised, fresh = Learner(side), Learner(side)
    for learner in (revised, fresh):
        learner.take(side.event("earlier", value=1, features=(0.3, 0.4)))
    revised.take(side.event(revision=1, offset=offset, value=old, weight=old_weight))
    for learner in (revised, fresh):
        learner.take(side.event(revision=2, offset=offset, value=new, weight=new_weight))
    assert revised.entity()["coefficients"] == pytest.approx(fresh.entity()["coefficients"], abs=1e-12)
    assert revised.entity()["squares"] == pytest.approx(fresh.entity()["squares"], abs=1e-12)
    assert revised.entity()["labels"] == fresh.entity()["labels"] == 2


@both_sides
def test_an_open_label_makes_no_delta_and_no_example(side: Side) -> None:
    learner = Learner(side)
    learner.take(side.event())
    assert {message.topic for message in learner.messages} == ({TOPICS.scores} if side is MEMBER else set())
    assert learner.entity()["version"] == 0


@both_sides
def test_a_label_that_only_becomes_final_makes_no_new_version(side: Side) -> None:
    learner = Learner(side)
    learner.take(side.event(revision=1), side.event(revision=2, value=0))
    outcome = learner.take(side.event(revision=3, value=0, final=True))
    assert outcome.messages == []
    assert list(outcome.changes) == [contribution_key(0, START, "application-1")]
    assert learner.entity()["version"] == 1


@both_sides
def test_a_delta_is_as_old_as_the_newest_label_that_went_into_it(side: Side) -> None:
    learner = Learner(side)
    first = learner.take(
        side.event("a", value=1, happened_at=START + 500),
        side.event("b", value=0, happened_at=START + 300),
        side.event("c", entity="entity-2", value=1, happened_at=START + 100),
        # It changes nothing.
        side.event("d", entity="entity-2", happened_at=START + 900),
    )
    assert [times.tolist() for times in first.delta_times] == [[START + 500, START + 100]]
    # What came before is not in this delta, although it is newer.
    late = learner.take(side.event("e", value=1, happened_at=START + 200))
    assert [times.tolist() for times in late.delta_times] == [[START + 200]]
    assert learner.take(side.event("f", happened_at=START + 900)).delta_times == ()


@both_sides
def test_a_label_without_a_value_counts_nothing_whatever_its_weight_says(side: Side) -> None:
    learner = Learner(side)
    learner.take(side.event(value=None, weight=1.0))
    assert not learner.entity()["coefficients"].any()
    assert learner.deltas() == []


def test_an_application_is_scored_once_when_it_opens() -> None:
    learner = Learner(MEMBER)
    learner.take(MEMBER.event("earlier", revision=1), MEMBER.event("earlier", revision=2, value=1))
    learner.take(MEMBER.event(revision=1), MEMBER.event(revision=2, value=0), MEMBER.event(revision=3, value=1))
    scores = learner.sent(TOPICS.scores, Score)
    assert [score.application_id for score in scores] == ["earlier", "application-1"]

    first, second = scores
    assert (first.member_log_odds, first.member_version) == (0.0, 0)
    assert second.member_log_odds > 0
    assert second.member_version == 1
    assert second.log_odds == pytest.approx(
        second.global_log_odds + second.job_log_odds + second.member_log_odds, abs=1e-12
    )
    assert second.probability == pytest.approx(1 / (1 + np.exp(-second.log_odds)), abs=1e-12)


def test_an_example_is_the_label_with_the_score_of_the_member_without_the_own_step() -> None:
    learner = Learner(MEMBER)
    events = [MEMBER.event(revision=1, value=0, weight=0.5), MEMBER.event(revision=2, value=1, final=True)]
    learner.take(events[0])
    learner.take(events[1])
    for event, sent in zip(events, learner.sent(TOPICS.examples, Example), strict=True):
        shared = set(Label.model_fields) & set(Example.model_fields) - {"origin"}
        assert {name: getattr(sent, name) for name in shared} == {name: getattr(event, name) for name in shared}
        assert sent.member_log_odds == pytest.approx(0.0, abs=1e-12)
        assert sent.origin == PARTITION


def test_outputs_go_under_the_keys_of_their_topics() -> None:
    learner = Learner(MEMBER)
    learner.take(MEMBER.event(entity="member-7", value=1, job_id="job-9"))
    assert {message.topic: message.key for message in learner.messages} == {
        TOPICS.scores: b"job-9",
        TOPICS.examples: b"job-9",
        TOPICS.coefficients: b"member:member-7",
        TOPICS.coefficient_snapshots: b"member:member-7",
    }


@both_sides
def test_what_an_application_added_is_forgotten_when_its_retention_has_passed(side: Side) -> None:
    learner = Learner(side)
    learner.take(side.event(value=1))
    learner.take(side.event("other", applied_at=START + DAY, watermark=START + RETENTION - 1))
    assert contribution_key(0, START, "application-1") in learner.contributions()
    learner.take(side.event("other", revision=2, applied_at=START + DAY, watermark=START + RETENTION))
    assert learner.contributions() == [contribution_key(0, START + DAY, "other")]
    assert learner.entity()["version"] == 1


@both_sides
def test_what_comes_and_expires_within_one_chunk_is_forgotten_too(side: Side) -> None:
    learner = Learner(side)
    later = START + RETENTION
    learner.take(side.event(value=1), side.event("other", applied_at=later, watermark=later))
    assert learner.contributions() == [contribution_key(0, later, "other")]


@both_sides
@pytest.mark.parametrize("revision", [1, 2])
def test_a_label_for_an_expired_application_changes_nothing(side: Side, revision: int) -> None:
    learner = Learner(side)
    later = START + RETENTION
    learner.take(side.event(value=1), side.event("other", applied_at=later, watermark=later))
    assert learner.take(side.event(revision=revision, value=0, watermark=START)) == Outcome({}, [])
    assert learner.take(side.event("never seen", value=0, watermark=START)) == Outcome({}, [])


@both_sides
def test_the_event_time_of_one_origin_expires_nothing_of_another(side: Side) -> None:
    learner = Learner(side)
    later = START + 10 * RETENTION
    learner.take(side.event(value=0, origin=0), side.event("other", origin=1, applied_at=later, watermark=later))
    assert contribution_key(0, START, "application-1") in learner.contributions()
    learner.take(side.event(revision=2, value=1, origin=0, watermark=START + DAY))
    assert learner.entity()["version"] == 2


@both_sides
def test_the_state_is_bounded_by_what_a_retention_holds(side: Side) -> None:
    learner = Learner(side)
    for day in range(200):
        now = START + day * DAY
        learner.take(
            *(side.event(f"{day}-{number}", applied_at=now, watermark=now, value=day % 2) for number in range(3))
        )
        # One entity, one clock, the layout, the scale of the prior and the guard's record besides.
        assert len(learner.items()) <= 28 * 3 + 5
    assert len(learner.contributions()) == 28 * 3


@both_sides
def test_another_number_of_features_is_a_dead_letter_and_the_others_are_learned_from(side: Side) -> None:
    learner = Learner(side)
    learner.take(
        side.event(value=1),
        side.event("too long", features=(1.0, 2.0, 3.0), value=1),
        side.event("too short", features=(), value=1),
        side.event("as it should be", value=1),
    )
    learner.take(side.event("too long in another chunk", features=(1.0, 2.0, 3.0), value=1))
    reasons = [
        dict(message.headers)["__connect.errors.exception.message"]
        for message in learner.messages
        if message.topic == TOPICS.dead_letters
    ]
    assert reasons == [
        b"3 features where 2 are learned",
        b"0 features where 2 are learned",
        b"3 features where 2 are learned",
    ]
    assert learner.entity()["labels"] == 2
    assert len(learner.contributions()) == 2


@both_sides
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff\x00garbage", b"stream_qa.errors.NotJSONError"),
        (b"", b"stream_qa.errors.NotJSONError"),
        (b"{}", b"stream_qa.errors.InvalidEventError"),
        (None, b"stream_qa.errors.InvalidEventError"),
    ],
)
def test_what_is_no_label_is_a_dead_letter_as_it_came(side: Side, value: bytes | None, reason: bytes) -> None:
    learner = Learner(side)
    good = as_record(side.event(value=1), 8)
    bad = Record(good.topic, PARTITION, 7, b"key", value, [("trace", b"abc")])
    learner.take_records([bad, good])
    letters = [message for message in learner.messages if message.topic == TOPICS.dead_letters]
    assert [(letter.key, letter.value) for letter in letters] == [(b"key", value)]
    headers = dict(letters[0].headers)
    assert headers["trace"] == b"abc"
    assert headers["__connect.errors.offset"] == b"7"
    assert headers["__connect.errors.stage"] == side.kind.encode()
    assert headers["__connect.errors.exception.class.name"] == reason
    assert learner.entity()["version"] == 1


@both_sides
def test_a_chunk_of_garbage_changes_nothing(side: Side) -> None:
    learner = Learner(side)
    outcome = learner.take_records([Record("any", PARTITION, offset, None, b"{") for offset in range(3)])
    assert outcome.changes == {}
    assert len(outcome.messages) == 3
    assert learner.take_records([]) == Outcome({}, [])


@both_sides
def test_features_and_offsets_at_the_ends_of_their_ranges_give_messages_that_decode(side: Side) -> None:
    learner = Learner(side)
    extremes: list[Callable[[int], float]] = [lambda sign: sign * 1e308, lambda sign: sign * 5e-324]
    for number, extreme in enumerate(extremes):
        for sign in (-1, 1):
            learner.take(
                side.event(
                    f"{number}{sign}",
                    features=(extreme(sign), extreme(-sign)),
                    offset=sign * 9e8,
                    value=(1 - sign) // 2,
                )
            )
    for topic, model in (
        (TOPICS.coefficients, Delta),
        (TOPICS.scores, Score),
        (TOPICS.examples, Example),
    ):
        assert len(learner.sent(topic, model)) == (4 if topic == TOPICS.coefficients or side is MEMBER else 0)


#: The member's table as the version before format 2 left it: two labels of one entity, the second provisional.
TABLE_OF_FORMAT_1 = {
    clock_key(0): bytes.fromhex("0000019b95c0d000"),
    contribution_key(0, START, "application-1"): bytes.fromhex(
        "010300010000000000000001000000000000f03f000000000000e0bf1cafd248680bbf3f1cafd248680bbf3fdaf1a088bdc0afbf"
    ),
    contribution_key(0, START, "application-2"): bytes.fromhex(
        "010300010000000000000000000000000000e03f717719b8f53bd03ffa09170aea8fafbf98662db7185890bf17c57391a0aab7bf"
    ),
    b"dimension": bytes.fromhex("0003"),
    entity_key("entity-1"): bytes.fromhex(
        "0103000200000000000000020000000000000000d0c0959b0100003e548e87e686ae3f7655071b62f5ba3f021fe2aa7fc5c3bf"
        "4192c708331eb43f24798c30e341b03f261282a7e587aa3f"
    ),
}


def test_a_table_of_format_1_goes_on_and_its_labels_are_still_taken_back_exactly() -> None:
    learner = Learner(MEMBER)
    learner.state.apply(TABLE_OF_FORMAT_1)
    first = learner.entity()["coefficients"].copy()
    step = np.frombuffer(TABLE_OF_FORMAT_1[contribution_key(0, START, "application-2")][-24:], np.float64)
    moment = START + 12 * DAY
    learner.take(
        MEMBER.event(
            "application-2", features=(0.5, 3.0), revision=2, value=0, weight=0.0, happened_at=moment, watermark=moment
        )
    )
    kept = np.exp(-10 / 365)
    assert learner.entity()["coefficients"] == pytest.approx(kept * (first - step), abs=1e-12)
    assert learner.entity()["version"] == 3
    (delta,) = learner.deltas()
    assert (delta.base_version, delta.version) == (2, 3)
    assert dict(learner.items())[b"layout"] == bytes([FORMAT, 1, 3, 0])
    assert b"dimension" not in dict(learner.items())

    # A label that was learned before there was any fading fades from the first label after it.
    later = moment + 5 * DAY
    learner.take(MEMBER.event("application-1", revision=2, value=0, weight=0.0, happened_at=later, watermark=later))
    assert learner.entity()["coefficients"] == pytest.approx(np.zeros(3), abs=1e-12)


def test_a_table_of_format_1_keeps_its_number_of_features() -> None:
    learner = Learner(MEMBER)
    learner.state.apply(TABLE_OF_FORMAT_1)
    learner.take(MEMBER.event("application-3", features=(1.0,), value=1))
    assert [message.topic for message in learner.messages] == [TOPICS.dead_letters]


@pytest.mark.parametrize("of", ["adaptive-sgd", "sgd", "window"])
@pytest.mark.parametrize("by", ["adaptive-sgd", "sgd", "window"])
def test_a_table_that_another_rule_has_learned_is_refused(of: Any, by: Any) -> None:  # noqa: ANN401
    learner = Learner(Side("member", build_pipeline(Settings(learning_rule=of)).member, MEMBER.standard_deviations))
    learner.take(learner.side.event(value=1))
    other = Learner(Side("member", build_pipeline(Settings(learning_rule=by)).member, MEMBER.standard_deviations))
    other.state = learner.state
    # An entity that the table does not have yet: nothing is learned beside what another rule has learned.
    event = learner.side.event("another", entity="entity-2", value=1)
    if of == by:
        other.take(event)
        return
    with pytest.raises(RuleMismatchError, match=f"learned by {of}, and STREAM_QA_LEARNING_RULE is {by}"):
        other.take(event)


def test_a_table_of_format_1_is_refused_by_another_rule() -> None:
    learner = Learner(Side("member", build_pipeline(Settings(learning_rule="window")).member, (1, 1, 1)))
    learner.state.apply(TABLE_OF_FORMAT_1)
    with pytest.raises(RuleMismatchError):
        learner.take(MEMBER.event("application-3", value=1))


def test_a_table_of_a_newer_format_is_refused() -> None:
    learner = Learner(MEMBER)
    learner.state.apply({b"layout": bytes([FORMAT + 1, 1, 3, 0])})
    with pytest.raises(StateFormatError):
        learner.take(MEMBER.event(value=1))


def test_without_decay_nothing_fades() -> None:
    stage = build_pipeline(Settings(decay_days=0)).member
    fading, lasting = Learner(MEMBER), Learner(Side("member", stage, MEMBER.standard_deviations))
    for learner in (fading, lasting):
        learner.take(learner.side.event(value=1))
    before = lasting.entity()["coefficients"].copy()
    later = START + 20 * DAY
    for learner in (fading, lasting):
        learner.take(learner.side.event("another", value=0, weight=0.0, happened_at=later, watermark=later))
    assert np.array_equal(lasting.entity()["coefficients"], before)
    assert fading.entity()["coefficients"] == pytest.approx(before * np.exp(-20 / 365), abs=1e-12)


@pytest.mark.parametrize("rule", ["adaptive-sgd", "sgd", "window"])
@pytest.mark.parametrize("kind", ["member", "job"])
def test_as_far_as_settings_go_labels_are_learned_and_taken_back_and_what_is_sent_can_be_read(
    kind: EntityKind, rule: str
) -> None:
    learner = Learner(widest(kind, rule))
    for number, far in enumerate((1e300, -1e300, 1e160, 1.7e12)):
        for revision, value in enumerate((0, 1, 0, None), start=1):
            event = learner.side.event(
                f"application-{number}", features=[far, -far] * 8, revision=revision, value=value
            )
            assert learner.take(event).reasons == {}
    assert len(learner.deltas()) == 16
    assert len(learner.sent(TOPICS.examples, Example)) == (16 if kind == "member" else 0)
    assert len(learner.sent(TOPICS.scores, Score)) == (4 if kind == "member" else 0)


def test_no_score_can_be_beyond_what_can_be_read() -> None:
    largest = LOG_ODDS_BOUND
    for kind in ("member", "job"):
        effect = widest(kind, "adaptive-sgd").stage.effect
        (whitened,) = effect.whiten(np.full((1, MAX_FEATURES), 1e300))
        largest += effect.rule.coefficient_bound * np.abs(whitened).sum()
    assert TypeAdapter(LogOdds).validate_python(largest) > 1e8
