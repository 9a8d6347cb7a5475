"""What lanes refuse of an assignment."""

from collections.abc import Iterator, Mapping, Sequence

import pytest
from ground import Ground

from stream_qa.errors import StateError
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.lanes import Lanes
from stream_qa.streaming.opening import Place

pytestmark = pytest.mark.kafka


class NeverAsked:
    """A consumer of which nothing is asked before an assignment is found to be whole."""

    async def is_member(self) -> bool:
        raise AssertionError

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        raise AssertionError(places)

    def seek_lanes(self, offsets: Mapping[Place, int]) -> None:
        raise AssertionError(offsets)


@pytest.fixture
def lanes(ground: Ground) -> Iterator[Lanes]:
    """Give lanes in two groups of two partitions each."""
    settings = ground.settings.model_copy(update={"groups": 2, "data_directory": ground.directory / "state"})
    failures: list[BaseException] = []
    yield Lanes(settings, build_pipeline(settings), failures.append)
    assert failures == []


def places(lanes: Lanes, *partitions: int) -> set[Place]:
    return {(topic, partition) for topic in lanes.source_topics for partition in partitions}


async def test_the_lanes_of_a_partition_come_together(lanes: Lanes) -> None:
    torn = places(lanes, 0, 2) - {(lanes.source_topics[0], 2)}
    with pytest.raises(StateError, match="the assignment lacks"):
        await lanes.restore(torn, NeverAsked())
    assert lanes.places() == []
    await lanes.close()


async def test_the_partitions_of_a_group_come_together(lanes: Lanes) -> None:
    with pytest.raises(StateError, match=r"the assignment has \[0\] of \[0, 2\]"):
        await lanes.restore(places(lanes, 0), NeverAsked())
    await lanes.close()
    assert lanes.places() == []
