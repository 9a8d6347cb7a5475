"""What metrics say of a worker at a moment: its lanes, how far they are behind, their event time and their tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import rocksdict
from aiokafka.errors import KafkaConnectionError

from stream_qa.labels.event_time import CLOCK, Clock, Input
from stream_qa.learning.guard import GUARD, Standing, Sums
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import Outcome
from stream_qa.streaming.lane import Lane
from stream_qa.streaming.lanes import Lanes
from stream_qa.streaming.metrics_page import WorkerCollector
from stream_qa.streaming.opening import Place
from stream_qa.streaming.positions import Origin, Position
from stream_qa.streaming.table import Table

ORIGIN = Origin(b"0123456789abcdef", 4)
PREFIX = "eu-"


class Source:
    """A consumer that says where topics end, until it is lost."""

    def __init__(self) -> None:
        self.ends = {("eu-applications", 0): 12, ("eu-applications", 1): 40, ("eu-engagements", 0): 5}
        self.is_lost = False

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        if self.is_lost:
            raise KafkaConnectionError
        return {place: (0, self.ends[place]) for place in places}


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[list[Table]]:
    """Give two empty tables."""
    tables = [Table(tmp_path / name, rocksdict.Cache(1 << 20), 64 << 10) for name in ("label-0", "label-1")]
    yield tables
    for table in tables:
        table.close()


@pytest.fixture
def worker(tables: list[Table]) -> tuple[Lanes, Source, WorkerCollector]:
    """Give a worker with an open lane of partition 0 and one of partition 1 that is not open yet."""
    settings = Settings(topic_prefix=PREFIX)
    pipeline = build_pipeline(settings)
    lanes, source = Lanes(settings, pipeline, lambda error: pytest.fail(str(error))), Source()
    opened, closed = (
        Lane(
            "label", number, ("eu-applications", "eu-engagements"), "c", table, lambda _records, _state: Outcome({}, [])
        )
        for number, table in enumerate(tables)
    )
    opened.open({"eu-applications": Position(10, ORIGIN), "eu-engagements": Position(5, ORIGIN)})
    lanes._groups = {"0": SimpleNamespace(lanes=[opened, closed])}  # type: ignore[dict-item]
    lanes._source = source  # type: ignore[assignment]
    return lanes, source, WorkerCollector(lanes, pipeline.label, settings.topics)


def values(collector: WorkerCollector, name: str) -> dict[tuple[str, ...], float]:
    (family,) = [family for family in collector.collect() if family.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


async def test_the_lag_is_what_open_lanes_have_not_committed_by_stage_and_topic(
    worker: tuple[Lanes, Source, WorkerCollector],
) -> None:
    lanes, source, collector = worker
    collector.lag = await lanes.lag()
    assert values(collector, "stream_qa_lag_records") == {("label", "applications"): 2, ("label", "engagements"): 0}
    source.is_lost = True
    collector.lag = await lanes.lag()
    assert values(collector, "stream_qa_lag_records") == {}


def test_lanes_are_counted_by_whether_they_are_open(worker: tuple[Lanes, Source, WorkerCollector]) -> None:
    _, _, collector = worker
    assert values(collector, "stream_qa_lanes") == {("open",): 1, ("closed",): 1}


def test_event_time_is_that_of_the_input_that_is_behind(
    worker: tuple[Lanes, Source, WorkerCollector], tables: list[Table]
) -> None:
    _, _, collector = worker
    assert values(collector, "stream_qa_watermark_seconds") == {}
    tables[0].apply({CLOCK: Clock(applications=Input(reached=9_000), engagements=Input(reached=7_500)).pack()})
    assert values(collector, "stream_qa_watermark_seconds") == {("0",): 7.5}


def test_the_tables_of_a_stage_are_added_up(worker: tuple[Lanes, Source, WorkerCollector], tables: list[Table]) -> None:
    _, _, collector = worker
    tables[0].apply({b"a": b"1", b"b": b"2"})
    tables[1].apply({b"c": b"3"})
    assert values(collector, "stream_qa_table_records") == {("label",): 3}
    assert values(collector, "stream_qa_table_buffer_bytes")[("label",)] > 0


async def test_what_is_held_back_is_said_by_stage_and_reason_and_makes_no_worker_unready(
    worker: tuple[Lanes, Source, WorkerCollector], tables: list[Table]
) -> None:
    lanes, _, collector = worker
    for lane in lanes.all():
        lane.stage = "job"
    assert values(collector, "stream_qa_guard_stopped") == {("job", "harm"): 0, ("job", "labels"): 0}
    assert lanes.held_back() == []
    recent = Sums(weight=10.0, outcomes=4.0, expected=5.0, alone=6.0, own=3.0, other=4.0, both=2.0)
    tables[0].apply({GUARD: Standing(is_harmful=True, held=7, recent=recent).pack()})
    assert values(collector, "stream_qa_guard_stopped") == {("job", "harm"): 1, ("job", "labels"): 0}
    assert values(collector, "stream_qa_guard_held") == {("job",): 7}
    assert values(collector, "stream_qa_guard_log_loss") == {
        ("job", "alone"): 0.6,
        ("job", "own"): 0.3,
        ("job", "other"): 0.4,
        ("job", "both"): 0.2,
    }
    assert values(collector, "stream_qa_guard_calibration") == {("job",): 1.25}
    assert lanes.held_back() == ["job-0: no coefficients are published: what is learned makes scores worse"]
