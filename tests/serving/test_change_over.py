"""One generation takes another's place while requests come: filled beside, at one moment, and back again."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from serving_ground import Following, learn, model_scorer, served

from stream_qa.coefficients import CoefficientStore, LookedUp
from stream_qa.errors import BundleError
from stream_qa.events import Generation
from stream_qa.serving.served import Served
from stream_qa.serving.serving import Serving

#: A look-up that a test holds back is not to be given up.
FIRST, SECOND, THIRD = (Generation(generation=number, bundle=None) for number in (1, 2, 3))


@dataclass
class HeldStore(CoefficientStore):
    """Answers when it is let, so that a test can do something in the middle of a look-up."""

    let: Event = field(default_factory=Event)
    begun: Event = field(default_factory=Event)
    is_closed: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.let.set()

    def look_up_both(self, *arguments: Any, **named: Any) -> dict[Any, LookedUp]:  # noqa: ANN401 # as it is called
        self.begun.set()
        assert self.let.wait(30)
        assert not self.is_closed
        return super().look_up_both(*arguments, **named)

    def close(self) -> None:
        self.is_closed = True


class Ground:
    """A service of generation 1 whose switches and whose other generations are what a test says."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Generation | Exception | None] = asyncio.Queue()
        self.opened: dict[int, Served] = {}
        self.stores: dict[int, HeldStore] = {}
        self.following: dict[int, Following] = {}
        self.problem: Exception | None = None
        self.serving = Serving(self.generation(1), self.open, self.switches)

    def generation(self, number: int) -> Served:
        self.stores[number], self.following[number] = HeldStore(), Following()
        learn(self.stores[number], "member", "m-1", [float(number), 0.0])
        self.opened[number] = served(number, self.stores[number], model_scorer(), self.following[number])
        return self.opened[number]

    def open(self, generation: Generation) -> Served:
        if self.problem is not None:
            raise self.problem
        return self.generation(generation.generation)

    async def switches(self) -> AsyncGenerator[Generation | None, None]:
        while True:
            said = await self.said.get()
            if isinstance(said, Exception):
                raise said
            yield said

    async def answered_by(self) -> int:
        """Return the coefficient that a look-up finds: the number of the generation."""
        found = await self.serving.now().look_ups.look_up({"member": ["m-1"]})
        assert found.failure is None
        return int(found.held["member"].vectors[0, 0])

    def fill(self, number: int) -> None:
        self.following[number]._may_be_caught_up.set()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 # several tasks take their turns first
            await asyncio.sleep(0.001)


async def asked_for(work: Awaitable[int]) -> int:
    async with asyncio.timeout(30):
        return await work


@pytest.fixture
def ground() -> Ground:
    """Give a service that nobody has switched."""
    return Ground()


async def test_it_is_not_ready_before_it_is_known_which_generation_serves(ground: Ground) -> None:
    async with ground.serving.running():
        assert ground.serving.not_ready() == "it is being read which generation serves"
        assert await ground.answered_by() == 1
        await ground.said.put(None)
        await until(lambda: ground.serving.not_ready() is None)
    assert ground.stores[1].is_closed


async def test_another_one_answers_when_it_is_filled_and_not_before_and_so_back_again(ground: Ground) -> None:
    async with ground.serving.running():
        await ground.said.put(None)
        await ground.said.put(SECOND)
        await until(lambda: 2 in ground.opened)
        assert await ground.answered_by() == 1
        assert ground.serving.not_ready() is None
        assert ground.serving.notices() == ["generation 2 is being filled; 1 answers until then"]
        ground.fill(2)
        await until(lambda: ground.serving.now().generation == 2)
        assert await ground.answered_by() == 2
        await until(lambda: ground.stores[1].is_closed)

        await ground.said.put(FIRST)
        await until(lambda: not ground.stores[1].is_closed)
        assert await ground.answered_by() == 2
        ground.fill(1)
        await until(lambda: ground.serving.now().generation == 1)
        assert await ground.answered_by() == 1
        assert ground.serving.notices() == []


async def test_a_look_up_that_was_begun_ends_with_the_old_one_before_its_store_is_closed(
    ground: Ground,
) -> None:
    async with ground.serving.running():
        ground.stores[1].let.clear()
        looking = asyncio.create_task(ground.answered_by())
        await until(ground.stores[1].begun.is_set)
        await ground.said.put(SECOND)
        await until(lambda: 2 in ground.opened)
        ground.fill(2)
        await until(lambda: ground.serving.now().generation == 2)
        assert await ground.answered_by() == 2
        assert not ground.stores[1].is_closed
        ground.stores[1].let.set()
        assert await asked_for(looking) == 1
        await until(lambda: ground.stores[1].is_closed)


async def test_one_that_is_undone_while_it_is_filled_never_answers(ground: Ground) -> None:
    async with ground.serving.running():
        await ground.said.put(SECOND)
        await until(lambda: 2 in ground.opened)
        await ground.said.put(FIRST)
        await until(lambda: ground.stores[2].is_closed)
        assert (ground.serving.now().generation, ground.serving.notices()) == (1, [])
        assert not ground.stores[1].is_closed


async def test_another_switch_while_one_is_filled_goes_to_the_newest(ground: Ground) -> None:
    async with ground.serving.running():
        await ground.said.put(SECOND)
        await until(lambda: 2 in ground.opened)
        await ground.said.put(THIRD)
        await until(lambda: 3 in ground.opened)
        ground.fill(3)
        await until(lambda: ground.serving.now().generation == 3)
        assert ground.stores[2].is_closed


async def test_one_that_cannot_be_opened_is_tried_again_while_the_old_one_answers(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_qa.serving.serving._AGAIN_SECONDS", 0.01)
    ground.problem = BundleError("the volume is not mounted")
    cannot = "generation 2 is to be served and cannot be: the volume is not mounted"
    async with ground.serving.running():
        await ground.said.put(None)
        await ground.said.put(SECOND)
        await until(lambda: ground.serving.notices() == [cannot])
        assert ground.serving.not_ready() is None
        assert await ground.answered_by() == 1
        ground.problem = None
        await until(lambda: 2 in ground.opened)
        ground.fill(2)
        await until(lambda: ground.serving.now().generation == 2)
        assert ground.serving.notices() == []


async def test_one_whose_topics_cannot_be_followed_is_not_served(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_qa.serving.serving._AGAIN_SECONDS", 0.01)
    opened = ground.generation

    def failing(number: int) -> Served:
        found = opened(number)
        ground.following[number].failure = BundleError("no such topic")
        return found

    monkeypatch.setattr(ground, "generation", failing)
    async with ground.serving.running():
        await ground.said.put(SECOND)
        cannot = "generation 2 is to be served and cannot be: the topics are not followed any more: no such topic"
        await until(lambda: ground.serving.notices() == [cannot])
        assert await ground.answered_by() == 1


async def test_a_service_that_begins_with_another_one_than_serves_is_ready_when_that_is_filled(ground: Ground) -> None:
    async with ground.serving.running():
        await ground.said.put(SECOND)
        await until(lambda: 2 in ground.opened)
        assert ground.serving.not_ready() == "generation 2 is being filled"
        ground.fill(2)
        await until(lambda: ground.serving.not_ready() is None)
        assert await ground.answered_by() == 2


async def test_a_topic_that_cannot_be_read_is_said_and_read_again(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_qa.serving.serving._AGAIN_SECONDS", 0.01)
    async with ground.serving.running():
        await ground.said.put(KafkaConnectionError())
        await until(lambda: "it cannot be read which generation" in (ground.serving.not_ready() or ""))
        await ground.said.put(None)
        await until(lambda: ground.serving.not_ready() is None)
        await ground.said.put(KafkaConnectionError())
        await until(lambda: len(ground.serving.notices()) == 1)
        assert ground.serving.not_ready() is None


async def test_a_service_that_ends_while_one_is_filled_closes_both(ground: Ground) -> None:
    async with ground.serving.running():
        await ground.said.put(SECOND)
        await until(lambda: 2 in ground.opened)
    assert (ground.stores[1].is_closed, ground.stores[2].is_closed) == (True, True)
