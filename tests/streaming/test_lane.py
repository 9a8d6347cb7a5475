"""A lane: which chunks it takes, what it wants to have committed, what it stores."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import rocksdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_qa.errors import OffsetGapError
from stream_qa.events import Message, Record, SourceRecord
from stream_qa.stages.state import Outcome, StateReader
from stream_qa.streaming.lane import PASSED_SECONDS, Lane, Work
from stream_qa.streaming.positions import CHANGELOG_MARK, Origin, Position, position_key
from stream_qa.streaming.source_queue import Chunk
from stream_qa.streaming.table import Table

ORIGIN = Origin(b"0123456789abcdef", 4)
CHANGELOG_ID = b"fedcba9876543210"


def at(**offsets: int) -> dict[str, Position]:
    """Return positions in topics."""
    return {topic: Position(offset, ORIGIN) for topic, offset in offsets.items()}


def process(records: Sequence[SourceRecord], _state: StateReader) -> Outcome:
    """Put every record under its place, and send it on."""
    places = [f"{record.topic}-{record.offset}".encode() for record in records]
    return Outcome(
        {place: record.value for place, record in zip(places, records, strict=True)},
        [Message("out", place, record.value) for place, record in zip(places, records, strict=True)],
    )


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """Give an open, empty table."""
    table = Table(tmp_path / "table", rocksdict.Cache(1 << 20), 64 << 10)
    yield table
    table.close()


@pytest.fixture
def lane(table: Table) -> Lane:
    """Give an open lane of two sources, the one at 10 and the other at 100."""
    lane = Lane("label", 0, ("applications", "engagements"), "label-changelog", table, process)
    lane.open(at(applications=10, engagements=100), CHANGELOG_ID)
    return lane


def chunk(lane: Lane, start: int, end: int, *, topic: str = "applications", count: int | None = None) -> Chunk:
    """Return a chunk of the lane's session; fewer records than offsets where control records were among them."""
    offsets = range(start, end)[:count]
    return Chunk(topic, 0, lane.session, start, end, [Record(topic, 0, offset, None, b"value") for offset in offsets])


def sent(work: Work | None) -> list[bytes]:
    assert work is not None
    return [message.key or b"" for message in work.messages]


def test_a_lane_is_named_by_its_stage_and_partition(lane: Lane) -> None:
    assert str(lane) == "label-0"


def test_nothing_waits_at_first(lane: Lane) -> None:
    assert lane.step(100) is None
    assert lane.waiting.queued == 0


def test_chunks_that_continue_are_processed_in_order(lane: Lane) -> None:
    assert lane.add(chunk(lane, 10, 12))
    assert lane.add(chunk(lane, 12, 13))
    assert lane.waiting.queued == 3
    work = lane.step(100)
    assert sent(work) == [b"applications-10", b"applications-11", b"applications-12"]
    assert work is not None
    assert work.positions == {"applications": 13}
    assert work.changes[position_key("applications")] == Position(13, ORIGIN).pack()
    assert lane.waiting.queued == 0
    assert lane.step(100) is None


@pytest.mark.parametrize(("start", "end"), [(11, 13), (9, 11), (8, 10)])
def test_a_hole_or_a_repeat_is_refused(lane: Lane, start: int, end: int) -> None:
    lane.add(chunk(lane, start, end))
    with pytest.raises(OffsetGapError, match=rf"applications-0 continues at offset {start}, where 10 was to come"):
        lane.step(100)


def test_a_hole_between_chunks_of_one_step_is_refused(lane: Lane) -> None:
    lane.add(chunk(lane, 10, 12))
    lane.add(chunk(lane, 13, 14))
    with pytest.raises(OffsetGapError, match="continues at offset 13, where 12 was to come"):
        lane.step(100)


def test_a_step_takes_about_as_many_records_as_it_may(lane: Lane) -> None:
    for start in range(10, 18, 2):
        lane.add(chunk(lane, start, start + 2))
    taken = []
    while (work := lane.step(3)) is not None:
        taken.append((len(work.messages), lane.waiting.queued))
        lane.store(work, 0)
    assert taken == [(4, 4), (4, 0)]


def test_a_chunk_larger_than_that_is_taken_whole(lane: Lane) -> None:
    lane.add(chunk(lane, 10, 20))
    assert len(sent(lane.step(1))) == 10


def test_what_a_stage_leaves_comes_again_before_what_waits_and_its_position_is_not_committed(
    table: Table,
) -> None:
    def two_at_once(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
        return process(records[:2], state)._replace(left=max(0, len(records) - 2))

    lane = Lane("label", 0, ("applications", "engagements"), "label-changelog", table, two_at_once)
    lane.open(at(applications=10, engagements=100), CHANGELOG_ID)
    lane.step(100)
    lane.add(chunk(lane, 100, 101, topic="engagements"))
    lane.add(chunk(lane, 10, 15, count=4))
    lane.add(chunk(lane, 15, 16))
    steps = []
    while (work := lane.step(4)) is not None:
        steps.append((sent(work), work.positions, lane.is_behind, lane.waiting.queued))
        lane.store(work, 0)
    assert steps == [
        ([b"applications-10", b"applications-11"], {"applications": 12}, True, 2),
        ([b"applications-12", b"applications-13"], {"applications": 15}, False, 2),
        ([b"applications-15", b"engagements-100"], {"applications": 16, "engagements": 101}, False, 0),
    ]


def test_a_stage_may_leave_all_and_what_is_left_is_forgotten_with_the_session(table: Table) -> None:
    def not_yet(records: Sequence[SourceRecord], _state: StateReader) -> Outcome:
        return Outcome({b"done": b"some"}, [], left=len(records))

    lane = Lane("label", 0, ("applications", "engagements"), "label-changelog", table, not_yet)
    lane.open(at(applications=10, engagements=100), CHANGELOG_ID)
    lane.add(chunk(lane, 10, 12))
    work = lane.step(100)
    assert work is not None
    assert (work.positions, work.records, lane.has_left) == ({}, 0, True)
    lane.drop()
    assert not lane.is_behind


def test_the_positions_of_two_sources_advance_apart(lane: Lane) -> None:
    lane.add(chunk(lane, 100, 101, topic="engagements"))
    work = lane.step(100)
    assert work is not None
    assert work.positions == {"engagements": 101}
    assert position_key("applications") not in work.changes
    lane.store(work, 0)
    assert lane.positions == {"applications": 10, "engagements": 101}

    lane.add(chunk(lane, 10, 12))
    lane.add(chunk(lane, 101, 102, topic="engagements"))
    work = lane.step(100)
    assert sent(work) == [b"applications-10", b"applications-11", b"engagements-101"]
    assert work is not None
    assert work.positions == {"applications": 12, "engagements": 102}


def test_control_records_move_the_position_though_they_are_not_seen(lane: Lane) -> None:
    lane.add(chunk(lane, 10, 15, count=2))
    lane.add(chunk(lane, 15, 16, count=0))
    work = lane.step(100)
    assert len(sent(work)) == 2
    assert work is not None
    assert work.positions == {"applications": 16}


def test_control_records_alone_are_passed_without_a_transaction(lane: Lane, table: Table) -> None:
    lane.add(chunk(lane, 10, 12, count=0))
    assert lane.step(100) is None
    assert lane.positions == {"applications": 12, "engagements": 100}
    assert table.is_empty()
    lane.add(chunk(lane, 12, 13))
    work = lane.step(100)
    assert sent(work) == [b"applications-12"]
    assert work is not None
    assert work.positions == {"applications": 13}


def test_control_records_alone_are_worth_a_transaction_in_the_end(
    lane: Lane, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention may take them while nothing else comes, and a position before them would then be in a gap."""
    later = time.monotonic() + PASSED_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    lane.add(chunk(lane, 10, 12, count=0))
    work = lane.step(100)
    assert work is not None
    assert (work.records, work.positions) == (0, {"applications": 12})
    assert work.changes == {position_key("applications"): at(applications=12)["applications"].pack()}
    lane.store(work, 7)
    assert table.get_many([position_key("applications")]) == list(work.changes.values())
    # Nothing has been passed since.
    assert lane.step(100) is None


def test_a_step_changes_neither_the_positions_nor_the_table(lane: Lane, table: Table) -> None:
    lane.add(chunk(lane, 10, 12))
    lane.step(100)
    assert lane.positions == {"applications": 10, "engagements": 100}
    assert list(table.scan(b"", b"\xff")) == []


def test_what_was_committed_is_stored_with_its_positions_and_its_place_in_the_changelog(
    lane: Lane, table: Table
) -> None:
    lane.add(chunk(lane, 10, 12))
    work = lane.step(100)
    assert work is not None
    lane.store(work, 77)
    assert lane.positions == {"applications": 12, "engagements": 100}
    mark = table.mark()
    assert mark is not None
    assert (mark.offset, mark.topic_id) == (77, CHANGELOG_ID)
    assert abs(mark.written_at / 1000 - time.time()) < 60
    assert dict(table.scan(b"", b"\xff")) == {
        b"applications-10": b"value",
        b"applications-11": b"value",
        position_key("applications"): Position(12, ORIGIN).pack(),
        CHANGELOG_MARK: mark.pack(),
    }


def test_the_mark_is_local_and_not_among_the_changes_of_the_changelog(lane: Lane) -> None:
    lane.add(chunk(lane, 10, 12))
    work = lane.step(100)
    assert work is not None
    lane.store(work, 77)
    assert CHANGELOG_MARK not in work.changes


def test_the_log_names_each_reason_once_why_input_is_without_effect_and_not_without_end(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    """One that counts 0 is to be said too."""
    reasons = {f"kind-{number}": number for number in range(150)}
    lane.process = lambda _records, _state: Outcome({}, [], counted=reasons)
    for offset in (10, 11):
        lane.add(chunk(lane, offset, offset + 1))
        work = lane.step(1)
        assert work is not None
        lane.store(work, 0)
    assert caplog.messages == [f"label-0: input without effect: kind-{number}" for number in range(100)]


def test_a_closed_lane_takes_nothing(table: Table) -> None:
    lane = Lane("label", 0, ("applications",), "label-changelog", table, process)
    assert not lane.add(chunk(lane, 0, 1))
    assert lane.step(100) is None


def test_a_chunk_of_an_older_session_is_dropped(lane: Lane) -> None:
    old = chunk(lane, 10, 12)
    lane.drop()
    lane.open(at(applications=10, engagements=100), CHANGELOG_ID)
    assert not lane.add(old)
    assert lane.waiting.queued == 0
    assert lane.step(100) is None
    assert lane.add(chunk(lane, 10, 12))
    assert len(sent(lane.step(100))) == 2


def test_a_dropped_lane_forgets_what_waits_and_takes_nothing_more(lane: Lane) -> None:
    lane.add(chunk(lane, 10, 12))
    session = lane.session
    lane.drop()
    assert (lane.is_open, lane.waiting.queued) == (False, 0)
    assert lane.session != session
    assert lane.step(100) is None
    assert not lane.add(chunk(lane, 10, 12))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 4), max_size=10), st.integers(1, 9))
def test_however_the_source_is_cut_every_record_is_processed_once(table: Table, sizes: list[int], most: int) -> None:
    lane = Lane("label", 0, ("applications",), "label-changelog", table, process)
    lane.open(at(applications=0))
    end = 0
    for size in sizes:
        lane.add(chunk(lane, end, end + size))
        end += size
    keys: list[bytes] = []
    while (work := lane.step(most)) is not None:
        keys += sent(work)
        lane.store(work, 0)
    assert keys == [f"applications-{offset}".encode() for offset in range(end)]
    assert lane.positions == {"applications": end}
    assert lane.waiting.queued == 0
