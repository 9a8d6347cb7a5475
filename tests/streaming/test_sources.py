"""What waits of a lane's sources: by event time where there are two, with positions that are exact."""

from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_qa.errors import OffsetGapError
from stream_qa.events import Record, SourceRecord
from stream_qa.streaming.replay_steps import ReplaySteps
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.sources import STEP_BYTES, Order, Sources

FIRST, SECOND = "applications", "engagements"
PATIENCE = 2.0


def event_times(records: Sequence[SourceRecord]) -> list[int]:
    return [int(record.value or b"0") for record in records]


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def chunk(topic: str, start: int, *times: int, behind: int = 0, end: int | None = None) -> Chunk:
    """Return a chunk whose records happened at ``times``; ``end`` is beyond control records after them."""
    records = [Record(topic, 0, start + place, None, b"%d" % time) for place, time in enumerate(times)]
    return Chunk(topic, 0, 1, start, start + len(times) if end is None else end, records, behind)


def sources(clock: Clock | None = None, companions: frozenset[str] = frozenset(), **behind: int) -> Sources:
    return in_steps(ReplaySteps(0, PATIENCE), clock, companions, **behind)


def in_steps(
    steps: ReplaySteps, clock: Clock | None = None, companions: frozenset[str] = frozenset(), **behind: int
) -> Sources:
    waiting = Sources((FIRST, SECOND), Order(event_times, PATIENCE, steps, companions, clock or Clock()))
    waiting.open({}, behind)
    return waiting


def taken(waiting: Sources, most: int = 100, **positions: int) -> tuple[list[str], dict[str, int]]:
    """Return the records that were taken, as the topic's first letter and the time, and where the topics then are."""
    records, moved = waiting.take(most, {FIRST: 0, SECOND: 0, **positions})
    return [f"{record.topic[0]}{(record.value or b'').decode()}" for record in records], moved


def test_two_sources_are_taken_in_the_order_of_event_time() -> None:
    waiting = sources()
    waiting.add(chunk(FIRST, 0, 1, 4, 6))
    waiting.add(chunk(SECOND, 0, 2, 3, 5, 9))
    assert taken(waiting) == (["a1", "e2", "e3", "a4", "e5", "a6", "e9"], {FIRST: 3, SECOND: 4})
    assert waiting.queued == 0


def test_a_step_is_taken_and_the_next_one_when_its_labels_have_come_back() -> None:
    steps = ReplaySteps(10, PATIENCE, clock := Clock())
    waiting = in_steps(steps, clock)
    waiting.add(chunk(FIRST, 0, 1, 4, 12, 35))
    waiting.add(chunk(SECOND, 0, 2, 10, 11, 20))
    assert taken(waiting) == (["a1", "e2", "a4", "e10"], {FIRST: 2, SECOND: 2})
    steps.sent(1)
    assert taken(waiting, applications=2, engagements=2) == ([], {})
    assert waiting.waits == PATIENCE
    steps.came_back(1)
    assert taken(waiting, applications=2, engagements=2) == (["e11", "a12", "e20"], {FIRST: 3, SECOND: 4})
    assert waiting.waits is None
    assert taken(waiting, applications=3, engagements=4) == (["a35"], {FIRST: 4})


def test_at_the_same_moment_the_first_source_comes_first() -> None:
    waiting = sources()
    waiting.add(chunk(SECOND, 0, 1, 5, 5))
    waiting.add(chunk(FIRST, 0, 5, 5))
    assert taken(waiting)[0] == ["e1", "a5", "a5", "e5", "e5"]


def test_what_is_late_comes_with_what_it_came_with() -> None:
    waiting = sources()
    waiting.add(chunk(FIRST, 0, 7, 1, 8))
    waiting.add(chunk(SECOND, 0, 2, 9))
    assert taken(waiting)[0] == ["e2", "a7", "a1", "a8", "e9"]


def test_a_source_waits_for_the_other_while_that_is_known_to_have_more() -> None:
    waiting = sources(engagements=3)
    waiting.add(chunk(FIRST, 0, 1, 4))
    assert taken(waiting) == ([], {})
    waiting.add(chunk(SECOND, 0, 2, behind=2))
    assert taken(waiting)[0] == ["a1", "e2"]
    waiting.add(chunk(SECOND, 1, 3, 5, behind=0))
    assert taken(waiting, applications=1, engagements=1) == (["e3", "a4", "e5"], {FIRST: 2, SECOND: 3})


def test_it_does_not_wait_for_a_source_that_was_read_to_its_end() -> None:
    waiting = sources()
    waiting.add(chunk(SECOND, 0, 1))
    waiting.add(chunk(FIRST, 0, 2, 3))
    assert taken(waiting)[0] == ["e1", "a2", "a3"]
    assert waiting.waits is None


def test_it_waits_for_so_long_and_no_longer() -> None:
    clock = Clock()
    waiting = sources(clock, engagements=3)
    assert waiting.waits is None
    waiting.add(chunk(FIRST, 0, 1))
    assert taken(waiting)[0] == []
    clock.seconds += PATIENCE / 2
    assert waiting.waits == PATIENCE / 2
    assert taken(waiting)[0] == []
    clock.seconds += PATIENCE / 2
    assert taken(waiting)[0] == ["a1"]
    assert taken(waiting, applications=1)[0] == []
    assert waiting.waits is None, "nothing is left that could wait"
    waiting.add(chunk(FIRST, 1, 2))
    assert taken(waiting, applications=1)[0] == ["a2"]


def test_after_a_source_has_come_it_is_waited_for_again() -> None:
    clock = Clock()
    waiting = sources(clock, engagements=3)
    waiting.add(chunk(FIRST, 0, 1, 9))
    taken(waiting)
    clock.seconds += PATIENCE
    waiting.add(chunk(SECOND, 0, 2, behind=2))
    assert taken(waiting)[0] == ["a1", "e2"]
    assert taken(waiting, applications=1, engagements=1)[0] == []
    assert waiting.waits == PATIENCE


def test_a_chunk_that_is_taken_in_part_leaves_the_position_within_it() -> None:
    waiting = sources()
    waiting.add(chunk(FIRST, 10, 1, 2, 3, 4, end=20))
    waiting.add(chunk(SECOND, 0, 3))
    assert taken(waiting, 3, applications=10) == (["a1", "a2", "a3"], {FIRST: 13})
    assert (waiting.queued_of(FIRST), waiting.queued_of(SECOND)) == (1, 1)
    assert taken(waiting, applications=13) == (["e3", "a4"], {FIRST: 20, SECOND: 1})


def test_control_records_alone_move_the_position() -> None:
    waiting = sources()
    waiting.add(chunk(FIRST, 0, end=3))
    assert taken(waiting) == ([], {FIRST: 3})


def test_a_hole_is_refused() -> None:
    waiting = sources()
    waiting.add(chunk(FIRST, 1, 5))
    with pytest.raises(OffsetGapError, match="applications-0 continues at offset 1, where 0 was to come"):
        taken(waiting)


def test_without_an_order_chunks_come_as_they_came() -> None:
    waiting = Sources((FIRST, SECOND))
    waiting.open({}, {SECOND: 100})
    waiting.add(chunk(FIRST, 0, 9, 8))
    waiting.add(chunk(SECOND, 0, 1))
    assert taken(waiting)[0] == ["a9", "a8", "e1"]


MEGABYTE = 1 << 20


def large(topic: str, offset: int) -> Chunk:
    """Return a chunk of one record of a megabyte that happened at its offset."""
    value = b"%d" % offset
    return Chunk(topic, 0, 1, offset, offset + 1, [Record(topic, 0, offset, bytes(MEGABYTE - len(value)), value)])


@pytest.mark.parametrize("topics", [(FIRST,), (FIRST, SECOND)], ids=["alone", "two"])
def test_no_more_bytes_are_taken_than_a_step_may_have_however_few_records_that_is(topics: tuple[str, ...]) -> None:
    waiting = Sources(topics, Order(event_times, PATIENCE, ReplaySteps(0, PATIENCE), clock=Clock()))
    waiting.open({}, {})
    for offset in range(12):
        for topic in topics:
            waiting.add(large(topic, offset))
    assert waiting.bytes_of(FIRST) == 12 * MEGABYTE
    positions = dict.fromkeys(topics, 0)
    offsets: list[int] = []
    while waiting.queued:
        records, moved = waiting.take(1_000, positions)
        positions |= moved
        assert 1 <= len(records) <= STEP_BYTES // MEGABYTE
        offsets += [record.offset for record in records]
    assert offsets == [offset for offset in range(12) for _ in topics]
    assert waiting.bytes_of(FIRST) == 0


def test_a_chunk_larger_than_a_step_may_be_is_taken_all_the_same() -> None:
    waiting = Sources((FIRST,))
    waiting.open({}, {})
    count = STEP_BYTES // MEGABYTE + 1
    records = [record for offset in range(count) for record in large(FIRST, offset).records]
    waiting.add(Chunk(FIRST, 0, 1, 0, count, records))
    waiting.add(large(FIRST, count))
    assert len(taken(waiting)[0]) == count
    assert taken(waiting, applications=count)[1] == {FIRST: count + 1}


@pytest.mark.parametrize(("count", "is_enough"), [(STEP_BYTES // MEGABYTE - 1, False), (STEP_BYTES // MEGABYTE, True)])
def test_what_fills_a_step_is_many_records_or_many_bytes(count: int, is_enough: bool) -> None:
    waiting = sources()
    waiting.add(chunk(FIRST, 0, 1, 2))
    assert waiting.fills(2)
    assert not waiting.fills(1_000)
    for offset in range(count):
        waiting.add(large(SECOND, offset))
    assert waiting.fills(1_000) is is_enough


TIMES = st.lists(st.integers(0, 30), max_size=12)


@given(TIMES, TIMES, st.data())
def test_any_cut_into_chunks_and_steps_gives_the_same_order(
    first: list[int], second: list[int], data: st.DataObject
) -> None:
    """That of the largest event time so far of each source; each source keeps its own order."""
    waiting = sources(applications=len(first), engagements=len(second))
    expected = sorted(
        [(reached, 0, place) for place, reached in enumerate(accumulate(first, max))]
        + [(reached, 1, place) for place, reached in enumerate(accumulate(second, max))]
    )
    left = {FIRST: list(enumerate(first)), SECOND: list(enumerate(second))}
    positions = {FIRST: 0, SECOND: 0}
    found: list[tuple[str, int]] = []
    while any(left.values()) or waiting.queued:
        arrivals = [topic for topic, records in left.items() if records]
        if arrivals and (not waiting.queued or data.draw(st.booleans())):
            topic = data.draw(st.sampled_from(arrivals))
            count = data.draw(st.integers(1, len(left[topic])))
            part, left[topic] = left[topic][:count], left[topic][count:]
            waiting.add(chunk(topic, part[0][0], *(time for _, time in part), behind=len(left[topic])))
        records, moved = waiting.take(data.draw(st.integers(1, 5)), positions)
        positions |= moved
        found += [(record.topic, record.offset) for record in records]
        if not records and not moved and arrivals:
            # It waits for the source that has nothing here and something to come.
            for behind in [topic for topic in arrivals if not waiting.queued_of(topic)]:
                part, left[behind] = left[behind][:1], left[behind][1:]
                waiting.add(chunk(behind, part[0][0], part[0][1], behind=len(left[behind])))
    assert found == [((FIRST, SECOND)[which], place) for _, which, place in expected]
    assert positions == {FIRST: len(first), SECOND: len(second)}


COMPANIONS = frozenset({FIRST, SECOND})
HOUR = 3_600_000


def test_in_a_replay_a_source_waits_for_the_other_also_where_that_is_read_to_its_end() -> None:
    waiting = sources(companions=COMPANIONS)
    waiting.add(chunk(FIRST, 0, HOUR, HOUR + 1, 3 * HOUR, 5 * HOUR))
    assert taken(waiting) == ([f"a{HOUR}", f"a{HOUR + 1}"], {FIRST: 2})
    assert taken(waiting, applications=2) == ([], {})
    assert waiting.waits == PATIENCE
    waiting.add(chunk(SECOND, 0, 2 * HOUR, 4 * HOUR))
    assert taken(waiting, applications=2)[0] == [f"e{2 * HOUR}", f"a{3 * HOUR}", f"e{4 * HOUR}"]
    assert waiting.waits == PATIENCE


def test_it_waits_once_for_a_source_that_brings_nothing() -> None:
    clock = Clock()
    waiting = sources(clock, COMPANIONS)
    waiting.add(chunk(FIRST, 0, HOUR, 3 * HOUR, 5 * HOUR))
    assert taken(waiting)[0] == [f"a{HOUR}"]
    assert taken(waiting, applications=1)[0] == []
    clock.seconds += PATIENCE
    assert taken(waiting, applications=1)[0] == [f"a{3 * HOUR}", f"a{5 * HOUR}"]
    waiting.add(chunk(FIRST, 3, 9 * HOUR))
    assert taken(waiting, applications=3)[0] == [f"a{9 * HOUR}"]
    # It has something again: then more is expected again.
    waiting.add(chunk(SECOND, 0, 10 * HOUR))
    assert taken(waiting, applications=4)[0] == []
    clock.seconds += PATIENCE
    assert taken(waiting, applications=4)[0] == [f"e{10 * HOUR}"]


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from([FIRST, SECOND]), st.integers(0, 40), st.integers(0, 2)),
            st.floats(0.1, PATIENCE),
        ),
        max_size=20,
    ),
    st.sampled_from([0, 10]),
)
def test_a_wait_that_is_over_has_an_end(actions: list[tuple[str, int, int] | float], step: int) -> None:
    """Whoever waits for as long as it says, and takes then, does not do so for ever and without a pause."""
    clock = Clock()
    steps = ReplaySteps(step, PATIENCE, clock)
    waiting = in_steps(steps, clock, COMPANIONS, engagements=3)
    positions = {FIRST: 0, SECOND: 0}
    ends = {FIRST: 0, SECOND: 0}
    for action in actions:
        if isinstance(action, float):
            clock.seconds += action
        else:
            topic, time, behind = action
            waiting.add(chunk(topic, ends[topic], time * 60_000, behind=behind))
            ends[topic] += 1
        looks = 0
        while True:
            found, moved = waiting.take(1, positions)
            positions |= moved
            steps.sent(len(found))
            if not found and waiting.waits != 0:
                break
            looks += not found
            assert looks < 2, "it waits for no time at all, and then nothing comes"


def test_live_events_wait_for_nobody() -> None:
    clock = Clock()
    waiting = sources(clock, COMPANIONS)
    for hour in range(5):
        moment = (hour + 1) * HOUR
        waiting.add(chunk(FIRST, 2 * hour, moment, moment + 50_000))
        assert taken(waiting, applications=2 * hour)[0] == [f"a{moment}", f"a{moment + 50_000}"]
        clock.seconds += 3_600


def test_a_new_session_knows_of_no_pace() -> None:
    waiting = sources(companions=COMPANIONS)
    waiting.add(chunk(FIRST, 0, HOUR))
    assert taken(waiting)[0] == [f"a{HOUR}"]
    waiting.open({}, {})
    waiting.add(chunk(FIRST, 1, 9 * HOUR))
    assert taken(waiting, applications=1)[0] == [f"a{9 * HOUR}"]


class Partition:
    """One partition as its readers and this process see it, which hands over what it is about to write."""

    def __init__(self, most: int = 100) -> None:
        self.waiting = Sources((FIRST,))
        self.waiting.open({}, {})
        self.most = most
        self.log: list[Record | None] = []
        """By offset; ``None`` for what cannot be read: a transaction's end, and what was taken back."""
        self.fetched = self.position = self.handed = 0
        self.taken: list[int] = []

    def others_write(self, count: int) -> None:
        self.log += [*self._records(count), None]

    def others_send(self, count: int) -> None:
        """Write without a transaction."""
        self.log += self._records(count)

    def _records(self, count: int, first: int | None = None) -> list[Record]:
        first = len(self.log) if first is None else first
        return [Record(FIRST, 0, first + place, None, b"") for place in range(count)]

    def write(self, count: int, others: int = 0) -> bool:
        """Hand over and write in a transaction; ``others`` come between two batches of it.

        Where it gets other offsets it is taken back, the session ends, and the answer is no.
        """
        foreseen = self.waiting.next_offset(FIRST) if self.waiting.queued < self.most else None
        if foreseen is not None:
            chunk = Chunk(FIRST, 0, 1, foreseen, foreseen + count, self._records(count, foreseen))
            self.waiting.hand_over(chunk)
        first, records = len(self.log), self._records(count + others)
        if foreseen is not None and (others or first != foreseen):
            self.log += [*[None] * count, *self._records(others, first + count), None]
            self.waiting.open({FIRST: self.position}, {FIRST: len(self.log) - self.position})
            self.fetched, self.handed = self.position, 0
            return False
        self.log += [*records, None]
        self.waiting.wrote(FIRST, len(self.log) - 2)
        if foreseen is not None:
            self.handed = len(self.log) - 1
        return True

    def pass_by(self) -> None:
        """Let the consumer go on behind what was handed over."""
        self.fetched = max(self.fetched, self.handed)

    def fetch(self, count: int, knows_the_end: bool = False) -> bool:
        start, self.fetched = self.fetched, min(len(self.log), self.fetched + count)
        records = [record for record in self.log[start : self.fetched] if record is not None]
        behind = len(self.log) - self.fetched if knows_the_end else 0
        return self.fetched > start and self.waiting.add(Chunk(FIRST, 0, 1, start, self.fetched, records, behind))

    def take(self, most: int = 100) -> list[int]:
        records, moved = self.waiting.take(most, {FIRST: self.position})
        self.position = moved.get(FIRST, self.position)
        offsets = [record.offset for record in records]
        self.taken += offsets
        return offsets


def test_what_is_handed_over_is_taken_at_once_and_not_again_when_it_is_fetched() -> None:
    partition = Partition()
    partition.write(3)
    assert partition.take() == [0, 1, 2]
    assert partition.position == 3
    assert not partition.fetch(2)
    assert partition.fetch(2)  # the end of the transaction, which nobody has seen yet
    assert partition.take() == []
    assert partition.position == 4


def test_what_is_handed_over_goes_on_past_the_end_of_the_transaction_before_it() -> None:
    partition = Partition()
    for first in (0, 4, 8):
        partition.write(3)
        assert partition.take() == [first, first + 1, first + 2]
    assert not partition.fetch(11)
    assert partition.waiting.queued == 0


def test_offsets_that_others_have_taken_are_seen() -> None:
    partition = Partition()
    assert partition.write(1)
    assert partition.take() == [0]
    partition.others_write(1)
    assert not partition.write(1)  # offsets 4 and 5, taken back
    partition.fetch(100)
    assert partition.take() == [2]
    assert partition.write(1)
    assert partition.take() == [6]


def test_what_comes_after_records_of_others_that_are_known_of_is_left_to_be_fetched() -> None:
    partition = Partition()
    partition.write(1)
    partition.others_write(1)
    partition.fetch(1, knows_the_end=True)
    assert partition.waiting.next_offset(FIRST) is None
    assert partition.write(1)
    assert partition.take() == [0]
    assert partition.fetch(100)
    assert partition.take() == [2, 4]
    assert partition.write(1)
    assert partition.take() == [6]


def test_what_is_not_read_yet_when_a_session_begins_comes_first() -> None:
    partition = Partition()
    partition.others_send(2)
    partition.waiting.open({FIRST: 0}, {FIRST: 2})
    assert partition.waiting.next_offset(FIRST) is None
    partition.fetch(2)
    assert partition.waiting.next_offset(FIRST) == 2


def test_one_record_of_another_is_not_taken_for_the_end_of_a_transaction() -> None:
    partition = Partition()
    partition.others_send(2)
    partition.fetch(1, knows_the_end=True)
    assert partition.waiting.next_offset(FIRST) is None
    partition.fetch(1)
    partition.others_send(1)
    assert not partition.write(1)  # at 3, where 2 was foreseen
    partition.fetch(100)
    assert partition.take() == [0, 1, 2]


def test_what_others_have_written_into_the_midst_of_it_is_seen() -> None:
    partition = Partition()
    assert not partition.write(2, others=1)
    assert partition.take() == []
    partition.fetch(100)
    assert partition.take() == [2]


def test_what_was_handed_over_need_not_be_fetched() -> None:
    partition = Partition()
    partition.write(2)
    partition.pass_by()
    assert partition.take() == [0, 1]
    assert partition.fetch(1)  # the end of the transaction
    assert partition.write(1)
    assert partition.take() == [3]


def test_a_hole_is_seen_behind_what_was_handed_over() -> None:
    partition = Partition()
    partition.write(2)
    partition.waiting.add(chunk(FIRST, 3, 0, 0))
    with pytest.raises(OffsetGapError):
        partition.take()


def test_what_was_fetched_and_comes_again_is_refused_beside_what_is_handed_over() -> None:
    partition = Partition()
    partition.others_send(2)
    partition.fetch(2)
    partition.write(1)
    partition.take()
    partition.waiting.add(chunk(FIRST, 0, 0))
    with pytest.raises(OffsetGapError):
        partition.take()


ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 4), st.integers(0, 1)),
    st.tuples(st.just("others_write"), st.integers(0, 3)),
    st.tuples(st.just("others_send"), st.integers(1, 2)),
    st.tuples(st.just("fetch"), st.integers(1, 12), st.booleans()),
    st.tuples(st.just("take"), st.integers(1, 5)),
    st.tuples(st.just("pass_by")),
)


@settings(max_examples=300)
@given(st.lists(ACTIONS, max_size=40), st.integers(1, 6))
def test_every_record_is_taken_once_and_in_order_whoever_writes_and_however_it_comes(
    actions: list[tuple[str, int]], most: int
) -> None:
    partition = Partition(most)
    for action, *arguments in actions:
        getattr(partition, action)(*arguments)
    partition.fetch(len(partition.log))
    while partition.take():
        pass
    assert partition.taken == [record.offset for record in partition.log if record is not None]
    assert partition.position == len(partition.log)
