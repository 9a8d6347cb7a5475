"""What servers get while coefficients are held back and when they are published again, and that no cut changes it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from builders import DAY, START, as_records, example
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_qa.coefficients import CoefficientStore, read_delta, read_snapshot
from stream_qa.events import Delta, Example, Message, TopicNames, wire
from stream_qa.learning.entity import entity_key, entity_range, entity_type, unpack_many
from stream_qa.learning.entity_guard import EntityPolicy
from stream_qa.learning.guard import BLOCK, GUARD, GuardPolicy, Standing
from stream_qa.settings import Settings
from stream_qa.stages import guarded_publishing
from stream_qa.stages.learn import LearnStage
from stream_qa.stages.learn_chunk import Step
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.share import Share
from stream_qa.stages.state import MemoryState
from stream_qa.streaming.snapshots import snapshots_of

TOPICS = TopicNames()
JOBS = 40
STAGE = build_pipeline(Settings()).job
GUARDED = replace(STAGE, guard=GuardPolicy(16.0, 0.0, EntityPolicy(0.0, 0.0, 0.0)))
NEVER = replace(STAGE, guard=None)
LIKED, STOPPED, DISLIKED, END = 3 * BLOCK, 4 * BLOCK, 6 * BLOCK, 9 * BLOCK
"""After so many labels all jobs are disliked, this has been noticed, they are liked again, and the log ends."""


@cache
def log() -> tuple[Example, ...]:
    """Return labels that say yes, then no, then no and yes in turn, so that nothing learned holds, then yes again."""
    labels = []
    for number in range(END):
        disliked = LIKED <= number < STOPPED or (STOPPED <= number < DISLIKED and number // JOBS % 2)
        labels.append(
            example(
                f"application-{number}",
                job_id=f"job-{number % JOBS}",
                value=0 if disliked else 1,
                weight=1.0,
                member_features=(1.0, -1.0),
                global_log_odds=-1.0,
                member_log_odds=0.0,
                applied_at=START + number * DAY // 1000,
                happened_at=START + number * DAY // 1000,
                watermark=START,
            )
        )
    return tuple(labels)


class Partition:
    """A stage with its table, and a server that follows."""

    def __init__(self, stage: LearnStage[Any], share: Share = Share(1)) -> None:  # noqa: B008 # immutable
        self.stage, self.share = stage, share
        self.state = MemoryState()
        self.messages: list[Message] = []
        self.notices: list[str] = []
        self.delta_times: list[int] = []
        self.server, self.late = CoefficientStore(), CoefficientStore()

    def take(self, labels: Sequence[Example]) -> list[Message]:
        """Take a chunk and all that it brings about; return what was sent."""
        records, sent = as_records(labels, partition=0), []
        unfinished = True
        while unfinished:
            outcome = self.stage.process(0, records, self.state, self.share)
            self.state.apply(outcome.changes)
            sent += outcome.messages
            self.notices += outcome.notices
            self.delta_times += [time for times in outcome.delta_times for time in times.tolist()]
            records, unfinished = [], outcome.unfinished
        self.messages += sent
        self.server.apply([read_delta(m.key, m.value) for m in sent if m.topic == TOPICS.coefficients])
        self.late.apply([read_snapshot(m.key, m.value) for m in sent if m.topic == TOPICS.coefficient_snapshots])
        return sent

    def known(self) -> dict[str, tuple[int, bytes]]:
        """Return the version and the vector, as published, of each entity in the table."""
        found = {key.removeprefix(b"entity/").decode(): value for key, value in self.state.scan(*entity_range())}
        records = unpack_many(entity_type(self.stage.effect.rule, 3), list(found.values()))
        vectors = self.stage.effect.published(records["coefficients"])
        return {
            entity: (version, vector.tobytes())
            for entity, version, vector in zip(found, records["version"].tolist(), vectors, strict=True)
        }

    def held(self) -> set[str]:
        """Return the entities of which servers do not know how they have moved."""
        return {key.removeprefix(b"held/").decode() for key, _ in self.state.scan(b"held/", b"held0")}

    def served(self, store: CoefficientStore) -> dict[str, tuple[int, bytes]]:
        """Return the version and the vector of each entity that a store holds."""
        return {entity: (held.version, held.vector.tobytes()) for _, entity, held in store.entities()}


def test_while_what_is_learned_does_harm_servers_keep_what_they_have_and_then_get_all_of_it() -> None:
    partition = Partition(GUARDED)
    partition.take(log()[:LIKED])
    assert partition.served(partition.server) == partition.known()

    # What was learned before the last label of the block was published, as it is where labels come one at a time.
    partition.take(log()[LIKED:STOPPED])
    good = partition.served(partition.server)
    sent = partition.take(log()[STOPPED : STOPPED + BLOCK])
    assert [m for m in sent if m.topic in {TOPICS.coefficients, TOPICS.coefficient_snapshots}] == []
    assert partition.served(partition.server) == good != partition.known()
    assert partition.held() == set(partition.known())
    assert Standing.unpack(*partition.state.get_many([GUARD])).held == JOBS

    for start in range(STOPPED + BLOCK, END, 50):
        partition.take(log()[start : start + 50])
    assert partition.notices == [
        "no coefficients are published: what is learned makes scores worse",
        "coefficients are published again, also of those that have moved meanwhile",
    ]
    assert partition.held() == set()
    assert Standing.unpack(*partition.state.get_many([GUARD])).held == 0
    assert partition.served(partition.server) == partition.known()
    # Nobody who follows the deltas alone has missed any.
    assert partition.server.metrics.gaps == 0
    # Who starts by the snapshots and goes on with the deltas has the same.
    partition.late.apply([read_delta(m.key, m.value) for m in partition.messages if m.topic == TOPICS.coefficients])
    assert partition.served(partition.late) == partition.known()


@settings(max_examples=12)
@given(st.lists(st.integers(0, END), max_size=8))
def test_no_cut_into_chunks_changes_what_is_held_back_or_any_vector_that_is_published(cuts: list[int]) -> None:
    whole, cut = by_ones(), Partition(GUARDED)
    ends = [*sorted(cuts), END]
    for start, end in zip([0, *ends], ends, strict=False):
        cut.take(log()[start:end])
        standing = Standing.unpack(*cut.state.get_many([GUARD]))
        if standing.reasons:
            assert (standing.pack(), cut.held()) == whole[end][:2]
    assert dict(cut.state.scan(b"", b"\xff" * 64)) == whole[END][2]
    assert cut.served(cut.server) == cut.known()
    for message in cut.messages:
        if message.topic == TOPICS.coefficient_snapshots:
            assert message in snapshots_by_ones()


@cache
def by_ones() -> dict[int, tuple[bytes, set[str], dict[bytes, bytes]]]:
    """Return, after each label, how good the table is, who is held back, and at the end all of it."""
    partition = Partition(GUARDED)
    found = {}
    for number, label in enumerate(log(), start=1):
        partition.take([label])
        standing = Standing.unpack(*partition.state.get_many([GUARD]))
        items = dict(partition.state.scan(b"", b"\xff" * 64)) if number == END else {}
        found[number] = standing.pack(), partition.held(), items
    return found


@cache
def snapshots_by_ones() -> set[Message]:
    """Return a snapshot of each version of each entity: all that may be published."""
    partition = Partition(replace(NEVER, publisher=replace(STAGE.publisher, snapshot_every=1)))
    for label in log():
        partition.take([label])
    return {message for message in partition.messages if message.topic == TOPICS.coefficient_snapshots}


def test_switched_off_it_publishes_everything_also_what_was_held_back() -> None:
    partition = Partition(NEVER)
    partition.take(log())
    assert partition.notices == []
    assert partition.served(partition.server) == partition.known()

    partition = Partition(GUARDED)
    partition.take(log()[: STOPPED + 9])
    assert partition.held()
    partition.stage = NEVER
    partition.take([])
    partition.take(log()[STOPPED + 9 : STOPPED + 10])
    assert partition.held() == set()
    assert partition.served(partition.server) == partition.known()


def test_snapshots_on_demand_leave_out_what_is_held_back() -> None:
    partition = Partition(GUARDED)
    partition.take(log()[:STOPPED])
    (known,) = snapshots_of(GUARDED, dict(partition.state.scan(b"", b"\xff" * 64)))
    assert {read_snapshot(m.key, m.value).entity_id for m in known} == partition.known().keys() - partition.held()
    assert len(known) == JOBS - len(partition.held()) < JOBS


def test_what_was_held_back_is_published_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_publishing, "AT_A_TIME", 7)
    partition = Partition(GUARDED)
    for start in range(0, END, 20):
        partition.take(log()[start : start + 20])
    assert partition.held() == set()
    assert partition.served(partition.server) == partition.known()


def test_only_what_is_learned_now_tells_how_old_its_delta_is() -> None:
    partition = Partition(GUARDED)
    partition.take(log()[:LIKED])
    assert sorted(partition.delta_times) == [label.happened_at for label in log()[LIKED - JOBS : LIKED]]
    partition.take(log()[LIKED:STOPPED])
    partition.delta_times.clear()
    partition.take(log()[STOPPED : STOPPED + BLOCK])
    assert partition.delta_times == []
    partition.stage = NEVER
    sent = partition.take(log()[STOPPED + BLOCK : STOPPED + BLOCK + 1])
    assert len([m for m in sent if m.topic == TOPICS.coefficients]) == JOBS
    assert partition.delta_times == [log()[STOPPED + BLOCK].happened_at]


def test_an_entity_that_is_over_while_it_is_held_back_does_not_come_again() -> None:
    partition = Partition(GUARDED)
    partition.take(log()[: STOPPED + 9])
    partition.state.apply({entity_key("job-3"): None})
    partition.server.apply([read_delta(b"job:job-3", None)])
    partition.stage = NEVER
    partition.take(log()[STOPPED + 9 : STOPPED + 10])
    assert partition.held() == set()
    assert "job-3" not in partition.known()
    assert partition.served(partition.server) == partition.known()


def test_scores_and_examples_go_on_while_coefficients_are_held_back() -> None:
    guarded, never = (Partition(replace(stage, forward=_versions)) for stage in (GUARDED, NEVER))
    for partition in (guarded, never):
        partition.take(log())
    assert [m for m in guarded.messages if m.topic == "versions"] == [
        m for m in never.messages if m.topic == "versions"
    ]


def _versions(_partition: int, steps: Sequence[Step[wire.Example]]) -> list[Message]:
    return [
        Message("versions", b"", f"{step.label.application_id} {step.log_odds} {step.version}".encode())
        for step in steps
    ]


ONE_BY_ONE = replace(STAGE, guard=GuardPolicy(0.0, 0.0, EntityPolicy(evidence=1.0, flood=96.0, bound=8.0)))


def answers(job_id: str, count: int, *, since: int, value: int = 1, first: int = 0) -> list[Example]:
    """Return labels of one job, a second apart."""
    return [
        example(
            f"{job_id}-{number}",
            job_id=job_id,
            value=value,
            weight=1.0,
            member_features=(1.0, -1.0),
            global_log_odds=-1.5,
            member_log_odds=0.0,
            applied_at=since,
            happened_at=since + number * 1_000,
            watermark=START,
        )
        for number in range(first, first + count)
    ]


def test_a_job_that_is_flooded_with_answers_stays_as_it_was_while_others_go_on() -> None:
    partition = Partition(ONE_BY_ONE)
    partition.take(answers("job-1", 3, since=START) + answers("job-2", 3, since=START))
    before = partition.served(partition.server)
    partition.take(answers("job-1", 100, since=START + DAY, first=3) + answers("job-2", 3, since=START + DAY, first=3))
    served = partition.served(partition.server)
    assert served["job-1"] == before["job-1"] != partition.known()["job-1"]
    assert served["job-2"] == partition.known()["job-2"] != before["job-2"]
    assert partition.notices == ["held back one by one: flood 1"]
    assert partition.held() == set()
    (known,) = snapshots_of(ONE_BY_ONE, dict(partition.state.scan(b"", b"\xff" * 64)))
    assert [read_snapshot(m.key, m.value).entity_id for m in known] == ["job-2"]

    partition.take(answers("job-1", 1, since=START + 15 * DAY, first=500))
    assert partition.served(partition.server) == partition.served(partition.late) == partition.known()
    assert partition.server.metrics.gaps == 0
    assert partition.notices[1:] == ["held back one by one: released 1"]


def test_what_holds_a_job_back_is_not_held_against_its_side() -> None:
    partition = Partition(ONE_BY_ONE)

    def counted() -> tuple[int, list[int]]:
        standing = Standing.unpack(*partition.state.get_many([GUARD]))
        return standing.counted, standing.open

    partition.take(answers("job-1", 100, since=START))
    assert partition.notices == ["held back one by one: flood 1"]
    labels, sums = counted()
    partition.take(answers("job-1", 5, since=START, first=100))
    assert counted() == (labels + 5, sums)
    partition.take(answers("job-2", 1, since=START))
    assert counted()[1] != sums


def test_a_job_whose_own_part_does_harm_is_taken_from_servers_until_it_does_good() -> None:
    partition = Partition(ONE_BY_ONE)
    partition.take(answers("job-1", 20, since=START))
    assert "job-1" in partition.served(partition.server)
    for number in range(20, 28):
        partition.take(answers("job-1", 1, since=START + DAY, value=0, first=number))
    assert "job-1" not in partition.served(partition.server)
    assert "job-1" in partition.known()
    for number in range(28, 120):
        partition.take(answers("job-1", 1, since=START + 2 * DAY, value=0, first=number))
    assert partition.served(partition.server) == partition.served(partition.late) == partition.known()
    assert partition.server.metrics.gaps == 0
    assert partition.notices == [
        "held back one by one: harm 1",
        "held back one by one: released 1",
    ]


def test_a_vector_beyond_the_bound_is_not_published() -> None:
    narrow = replace(ONE_BY_ONE, guard=GuardPolicy(0.0, 0.0, EntityPolicy(0.0, 0.0, bound=0.5)))
    partition = Partition(narrow)
    partition.take(answers("job-1", 1, since=START))
    before = partition.served(partition.server)
    partition.take(answers("job-1", 10, since=START, first=1))
    assert partition.served(partition.server) == before != partition.known()
    partition.take(answers("job-1", 30, since=START, first=11, value=0))
    assert partition.served(partition.server) == partition.known() != before
    assert partition.notices == [
        "held back one by one: bound 1",
        "held back one by one: released 1",
    ]


BOUND = replace(ONE_BY_ONE, guard=GuardPolicy(0.0, 0.0, EntityPolicy(0.0, 0.0, bound=0.5)))
WIDER = replace(ONE_BY_ONE, guard=GuardPolicy(0.0, 0.0, EntityPolicy(0.0, 0.0, bound=8.0)))


@pytest.mark.parametrize("after", [NEVER, WIDER], ids=["switched off", "a wider bound"])
def test_one_that_was_held_back_is_published_in_full_by_a_guard_that_has_changed(after: LearnStage[Any]) -> None:
    partition = Partition(BOUND)
    partition.take(answers("job-1", 1, since=START))
    partition.take(answers("job-1", 3, since=START, first=1))
    assert partition.served(partition.server) != partition.known()

    partition.stage = after
    sent = [message for number in (4, 5) for message in partition.take(answers("job-1", 1, since=START, first=number))]
    deltas = [Delta.model_validate_json(m.value or b"") for m in sent if m.topic == TOPICS.coefficients]
    assert [(delta.base_version, delta.version) for delta in deltas] == [(0, 5), (5, 6)]
    assert partition.served(partition.server) == partition.known()
    assert partition.server.metrics.gaps == 0
    assert partition.notices == ["held back one by one: bound 1", "held back one by one: released 1"]


def test_one_that_was_held_back_with_its_side_and_is_beyond_its_bound_then_is_so_for_a_guard_that_has_changed() -> None:
    partition = Partition(replace(BOUND, guard=None))
    partition.take(answers("job-1", 1, since=START))
    partition.state.apply({GUARD: Standing(harm=64.0, is_harmful=True).pack()})
    both = GuardPolicy(64.0, 0.0, EntityPolicy(0.0, 0.0, bound=0.5))
    partition.stage = replace(BOUND, guard=both)
    partition.take(answers("job-1", 3, since=START, first=1))
    assert partition.held() == {"job-1"}
    partition.stage = BOUND
    partition.state.apply({GUARD: Standing(held=1).pack()})
    partition.take([])
    assert partition.held() == set()
    partition.stage = WIDER
    partition.take(answers("job-1", 1, since=START, first=4))
    assert partition.served(partition.server) == partition.known()
    assert partition.server.metrics.gaps == 0


def test_one_that_was_published_while_the_guard_was_off_is_taken_from_servers_when_it_is_on() -> None:
    partition = Partition(ONE_BY_ONE)
    partition.take(answers("job-1", 20, since=START))
    for number in range(20, 28):
        partition.take(answers("job-1", 1, since=START + DAY, value=0, first=number))
    assert "job-1" not in partition.served(partition.server)
    partition.stage = NEVER
    partition.take(answers("job-1", 1, since=START + DAY, value=0, first=28))
    assert partition.served(partition.server) == partition.known()
    partition.stage = ONE_BY_ONE
    partition.take(answers("job-1", 1, since=START + DAY, value=0, first=29))
    assert "job-1" not in partition.served(partition.server)


@pytest.mark.parametrize("between", [0, 1])
def test_one_that_does_harm_while_its_side_is_stopped_is_taken_from_servers_when_it_goes_on(between: int) -> None:
    """Whether or not there is a turn before its next label."""

    def stop(*, stopped: bool) -> None:
        standing = Standing.unpack(*partition.state.get_many([GUARD]))
        standing.is_harmful = stopped
        partition.state.apply({GUARD: standing.pack()})

    partition = Partition(ONE_BY_ONE)
    partition.take(answers("job-1", 20, since=START))
    stop(stopped=True)
    for number in range(20, 28):
        partition.take(answers("job-1", 1, since=START + DAY, value=0, first=number))
    assert partition.held() == partition.served(partition.server).keys() == {"job-1"}
    stop(stopped=False)
    for _ in range(between):
        partition.take([])
    partition.take(answers("job-1", 1, since=START + DAY, value=0, first=28))
    assert partition.served(partition.server) == {}


@given(st.lists(st.integers(0, 160), max_size=6))
@settings(max_examples=20)
def test_no_cut_changes_whose_account_says_what(cuts: list[int]) -> None:
    labels = [
        *answers("job-1", 20, since=START),
        *answers("job-2", 80, since=START),
        *answers("job-1", 10, since=START + DAY, value=0, first=20),
        *answers("job-2", 30, since=START + DAY, first=80),
        *answers("job-1", 20, since=START + 16 * DAY, first=40, value=0),
        *answers("job-2", 1, since=START + 17 * DAY, first=200),
    ]
    single, cut = Partition(ONE_BY_ONE), Partition(ONE_BY_ONE)
    for label in labels:
        single.take([label])
    ends = [*sorted(cuts), len(labels)]
    for start, end in zip([0, *ends], ends, strict=False):
        cut.take(labels[start:end])
    assert dict(cut.state.scan(b"", b"\xff" * 64)) == dict(single.state.scan(b"", b"\xff" * 64))
    # One is held back to the end, the other was released.
    assert cut.served(cut.server) == single.served(single.server) == {"job-2": single.known()["job-2"]}
    assert cut.server.metrics.gaps == single.server.metrics.gaps == 0
