"""Where a lane goes on in a source, and where it refuses to."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import rocksdict

from stream_qa.errors import OffsetGapError, PartitionCountError, TopicReplacedError
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import Outcome
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.positions import Mark, Origin, Position, position_key
from stream_qa.streaming.resuming import resume_at
from stream_qa.streaming.stage_lanes import StageLanes
from stream_qa.streaming.table import Table

ORIGIN = Origin(b"0123456789abcdef", 4)


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    """Give a lane that has read ``scores`` and ``labels`` to offset 100; it may miss scores."""
    table = Table(tmp_path / "table", rocksdict.Cache(1 << 20), 64 << 10)
    position = Position(100, ORIGIN).pack()
    table.store({position_key("scores"): position, position_key("labels"): position}, Mark(1, 1, bytes(16)))
    sources = ("scores", "labels", "new")
    yield Lane(
        "notify",
        0,
        sources,
        "changelog",
        table,
        lambda _records, _state: Outcome({}, []),
        may_miss=frozenset({"scores"}),
    )
    table.close()


@pytest.mark.parametrize("bounds", [(0, 100), (100, 100), (7, 900)])
@pytest.mark.parametrize("topic", ["scores", "labels"])
def test_it_goes_on_where_its_state_ends(lane: Lane, topic: str, bounds: tuple[int, int]) -> None:
    assert resume_at(lane, topic, ORIGIN, bounds) == Position(100, ORIGIN)


def test_a_source_that_it_has_not_read_begins_at_its_beginning(lane: Lane) -> None:
    assert resume_at(lane, "new", ORIGIN, (7, 900)) == Position(7, ORIGIN)


def test_it_does_not_go_on_where_records_are_gone(lane: Lane) -> None:
    with pytest.raises(OffsetGapError, match="labels-0 begins at offset 101; the records from 100 on"):
        resume_at(lane, "labels", ORIGIN, (101, 900))


def test_where_it_may_miss_them_it_goes_on_at_the_beginning_and_says_so(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    assert resume_at(lane, "scores", ORIGIN, (101, 900)) == Position(101, ORIGIN)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("scores-0 begins at offset 101; the records from 100 on")


@pytest.mark.parametrize("topic", ["scores", "labels"])
def test_another_topic_of_the_name_is_refused(lane: Lane, topic: str) -> None:
    with pytest.raises(PartitionCountError, match="had 4 partitions"):
        resume_at(lane, topic, Origin(ORIGIN.topic_id, 8), (0, 900))
    with pytest.raises(TopicReplacedError, match="made anew"):
        resume_at(lane, topic, Origin(b"another topic id", 4), (0, 900))
    with pytest.raises(TopicReplacedError, match="ends at offset 99"):
        resume_at(lane, topic, ORIGIN, (0, 99))


def test_ticks_and_scores_may_be_missed_and_nothing_else(tmp_path: Path) -> None:
    settings = Settings(data_directory=tmp_path, notify_per_job_and_day=1)
    goes_on = set()
    for lane in StageLanes(settings, build_pipeline(settings)).open(0):
        position = Position(100, ORIGIN).pack()
        lane.table.store({position_key(topic): position for topic in lane.sources}, Mark(1, 1, bytes(16)))
        for topic in lane.sources:
            with suppress(OffsetGapError):
                resume_at(lane, topic, ORIGIN, (101, 900))
                goes_on.add(topic)
        lane.table.close()
    assert goes_on == {settings.topics.ticks, settings.topics.scores}
