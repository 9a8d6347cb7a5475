"""What lanes refuse, which of them share transactions, whom opening fences, what is not fetched, what is waited for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from builders import application, as_record, label
from ground import PARTITIONS, Ground, job_in

from stream_qa.errors import FencedError, StateError
from stream_qa.events import Record
from stream_qa.kafka_access import KafkaAccess
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming import model_follower
from stream_qa.streaming.batches import Batches
from stream_qa.streaming.lanes import Lanes
from stream_qa.streaming.model_topic import Numbered
from stream_qa.streaming.opening import Place
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.source_queue import Chunk

pytestmark = pytest.mark.kafka

ALL = range(PARTITIONS)


class Empty:
    """A consumer of topics in which there is nothing."""

    async def is_member(self) -> bool:
        return True

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        return dict.fromkeys(places, (0, 0))

    def partition_count(self, _topic: str) -> int:
        return PARTITIONS

    def seek_lanes(self, offsets: Mapping[Place, int]) -> None:
        assert set(offsets.values()) == {0}

    def pass_by(self, offsets: Mapping[Place, int]) -> None:
        raise AssertionError(offsets)


class Told(Empty):
    """A consumer that keeps what it is told to pass by."""

    def __init__(self) -> None:
        self.passed: asyncio.Future[dict[Place, int]] = asyncio.get_running_loop().create_future()

    def pass_by(self, offsets: Mapping[Place, int]) -> None:
        self.passed.set_result(dict(offsets))


class NeverAsked(Empty):
    """A consumer of which nothing is asked before an assignment is found to be whole."""

    async def is_member(self) -> bool:
        raise AssertionError

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        raise AssertionError(places)

    def seek_lanes(self, offsets: Mapping[Place, int]) -> None:
        raise AssertionError(offsets)


@asynccontextmanager
async def lanes_of(ground: Ground, name: str, **more: int) -> AsyncIterator[Lanes]:
    """Give lanes in two groups of two partitions each; ``more`` are settings."""
    settings = ground.settings.model_copy(update={"groups": 2, "data_directory": ground.directory / name, **more})
    failures: list[BaseException] = []
    lanes = Lanes(settings, build_pipeline(settings), failures.append)
    try:
        yield lanes
    finally:
        await lanes.close()
    assert failures == []


def places(lanes: Lanes, partitions: Sequence[int]) -> set[Place]:
    return {(topic, partition) for topic in lanes.source_topics for partition in partitions}


async def give(lanes: Lanes, partitions: Sequence[int]) -> None:
    """Open the lanes of some partitions, and take no turn any more."""
    await lanes.restore(places(lanes, partitions), Empty())
    await lanes.pause()


async def write_as(lanes: Lanes, partition: int) -> None:
    """Commit as the group of a partition does."""
    [group] = [group for group in lanes._groups.values() if partition in group.partitions]
    batches = Batches()
    batches.add((lanes._settings.topics.dead_letters, 0), b"key", b"value")
    await group.transactions.write(batches)
    await group.transactions.commit()


async def test_the_lanes_of_a_partition_come_together(ground: Ground) -> None:
    async with lanes_of(ground, "state") as lanes:
        torn = places(lanes, [0, 2]) - {(lanes.source_topics[0], 2)}
        with pytest.raises(StateError, match="the assignment lacks"):
            await lanes.restore(torn, NeverAsked())
        assert lanes.places() == []


async def test_the_partitions_of_a_group_come_together(ground: Ground) -> None:
    async with lanes_of(ground, "state") as lanes:
        with pytest.raises(StateError, match=r"the assignment has \[0\] of \[0, 2\]"):
            await lanes.restore(places(lanes, [0]), NeverAsked())
    assert lanes.places() == []


async def test_a_worker_that_is_alone_has_one_transaction_for_all_and_one_of_several_one_a_group(
    ground: Ground,
) -> None:
    async with lanes_of(ground, "state") as lanes:
        for partitions, groups in ((ALL, [[*ALL]]), ([1, 3], [[1, 3]]), ([], []), (ALL, [[*ALL]])):
            await give(lanes, partitions)
            assert sorted(group.partitions for group in lanes._groups.values()) == groups
            assert set(lanes.places()) == places(lanes, partitions)
            for partition in partitions:
                await write_as(lanes, partition)


@pytest.mark.parametrize("after", [ALL, [0, 2]], ids=["alone", "of several"])
@pytest.mark.parametrize("before", [ALL, [0, 2]], ids=["alone", "of several"])
async def test_whoever_opens_lanes_fences_all_who_may_still_write_to_them(
    before: Sequence[int], after: Sequence[int], ground: Ground
) -> None:
    async with lanes_of(ground, "former") as former, lanes_of(ground, "newer") as newer:
        await give(former, before)
        await write_as(former, 0)
        await give(newer, after)
        with pytest.raises(FencedError):
            await write_as(former, 0)
        await write_as(newer, 0)


async def test_the_consumer_passes_by_what_was_handed_over(ground: Ground) -> None:
    applied = application(job_id=job_in(0))
    topic, topics = ground.settings.topics.applications, ground.settings.topics
    async with lanes_of(ground, "alone") as lanes:
        source = Told()
        await lanes.restore(places(lanes, ALL), source)
        session = lanes.session((topic, 0))
        assert session is not None
        record = Record(topic, 0, 0, applied.job_id.encode(), applied.model_dump_json().encode())
        lanes.add(Chunk(topic, 0, session, 0, 1, [record]))
        passed = await asyncio.wait_for(source.passed, 30)
    assert passed == {(topics.labels, partition_of(applied.member_id.encode(), PARTITIONS)): 1}


async def test_one_whose_state_is_restored_before_the_models_are_read_says_so(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def published(_kafka: KafkaAccess, _topic: str) -> AsyncGenerator[list[Numbered], None]:
        await asyncio.Event().wait()
        yield []

    monkeypatch.setattr(model_follower, "published", published)
    async with lanes_of(ground, "alone") as lanes:
        opening = asyncio.create_task(lanes.restore(places(lanes, ALL), Empty()))
        async with asyncio.timeout(30):
            while await lanes.problem() != "the published models are being read":
                continue
        await lanes.pause()
        await opening


async def test_one_that_waits_for_a_model_says_which_and_why(ground: Ground) -> None:
    topic = ground.settings.topics.labels
    async with lanes_of(ground, "alone") as lanes:
        await lanes.restore(places(lanes, ALL), Told())
        assert await lanes.problem() is None
        session = lanes.session((topic, 0))
        assert session is not None
        lanes.add(Chunk(topic, 0, session, 0, 1, [as_record(label(model_version="2026-01-01-abc", model_number=7))]))
        async with asyncio.timeout(30):
            while "model" not in (problem := await lanes.problem() or ""):
                continue
        assert problem == "labels name model 2026-01-01-abc, and it cannot be used here: nobody has published it"
        assert lanes.waits_for_model


@pytest.mark.parametrize(("chunk_records", "size", "waiting"), [(2, 10, 6), (5_000, 1 << 20, 24)])
async def test_a_source_is_read_on_until_three_times_as_much_waits_as_a_step_takes(
    chunk_records: int, size: int, waiting: int, ground: Ground
) -> None:
    topics = ground.settings.topics
    async with lanes_of(ground, "alone", chunk_records=chunk_records) as lanes:
        await lanes.restore(places(lanes, ALL), Empty())
        # Nothing is waited for from here on, so the group takes nothing.
        for offset in range(waiting):
            session = lanes.session((topics.applications, 0))
            assert session is not None
            record = Record(topics.applications, 0, offset, None, bytes(size))
            lanes.add(Chunk(topics.applications, 0, session, offset, offset + 1, [record]))
        assert lanes.session((topics.applications, 0)) is None
        assert lanes.session((topics.engagements, 0)) is not None


async def test_workers_of_several_do_not_fence_each_other(ground: Ground) -> None:
    async with lanes_of(ground, "one") as one, lanes_of(ground, "another") as another:
        await give(one, [0, 2])
        await give(another, [1, 3])
        for lanes, partition in ((one, 0), (another, 1), (one, 2), (another, 3)):
            await write_as(lanes, partition)
