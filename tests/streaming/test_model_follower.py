"""Published models: one that cannot be read is tried again until it can be, and said to be refused until then."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from hashlib import sha256
from pathlib import Path

import pytest
from bundles import retrained
from evaluation_ground import EvaluationGround
from ports import free_port

from stream_qa.bundle import MANIFEST, Bundle, load_published
from stream_qa.coefficients import CoefficientStore
from stream_qa.events import PublishedModel
from stream_qa.kafka_access import KafkaAccess
from stream_qa.serving.topics import TopicsFollower
from stream_qa.settings import Settings
from stream_qa.stages.models import Model, Models
from stream_qa.stages.pipeline import first_model, model_of
from stream_qa.streaming import model_follower
from stream_qa.streaming.model_follower import ModelFollower
from stream_qa.streaming.model_topic import Numbered


class Topic:
    """The topic of models, as whoever follows it has it: every yield of nothing is a poll."""

    def __init__(self) -> None:
        self.records: asyncio.Queue[list[Numbered]] = asyncio.Queue()
        self.polls = 0

    def publish(self, bundle: Bundle, number: int) -> None:
        """Let a bundle come with the next poll."""
        digest = sha256((bundle.directory / MANIFEST).read_bytes()).hexdigest()
        schema, location = str(bundle.feature_schema), str(bundle.directory)
        model = PublishedModel(version=bundle.version, feature_schema=schema, location=location, sha256=digest)
        self.records.put_nowait([Numbered(number, model)])

    async def published(self, _kafka: KafkaAccess, _topic: str) -> AsyncGenerator[list[Numbered], None]:
        while True:
            await asyncio.sleep(0)
            self.polls += 1
            yield [] if self.records.empty() else self.records.get_nowait()


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    """Give a topic that needs no broker, with polls and attempts that follow each other at once."""
    topic = Topic()
    monkeypatch.setattr(model_follower, "published", topic.published)
    monkeypatch.setattr(model_follower, "_AGAIN_SECONDS", 0.0)
    return topic


@pytest.fixture
def group(evaluation_ground: EvaluationGround) -> Settings:
    """Give the settings of a group that began with a bundle."""
    return evaluation_ground.settings


@pytest.fixture
def second(evaluation_ground: EvaluationGround, tmp_path: Path) -> Bundle:
    """Give a bundle that fits."""
    return retrained(evaluation_ground.bundle, tmp_path / "second", precision=2.0)


@pytest.fixture
def bring_files(topic: Topic, second: Bundle, tmp_path: Path) -> Callable[[], object]:
    """Publish that bundle without its files, as number 1; give what brings them."""
    topic.publish(second, 1)
    elsewhere = second.directory.rename(tmp_path / "elsewhere")
    return lambda: elsewhere.rename(second.directory)


def fail(error: BaseException) -> None:
    raise AssertionError from error


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 # several tasks take their turns first
            await asyncio.sleep(0.001)


async def test_a_model_that_can_be_read_later_is_taken_up_then(
    topic: Topic, group: Settings, second: Bundle, bring_files: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    models = Models(first_model(group))
    follower = ModelFollower(group, models, fail)
    await follower.start()
    await until(lambda: topic.polls > 5)
    assert follower.refusal is not None
    assert follower.refusal.startswith(f"model {second.version} was published last and cannot be used here: ")
    assert models.newest is models.first
    bring_files()
    await until(lambda: models.newest.version == second.version)
    await follower.stop()
    assert models.newest.number == 1
    assert not follower.refusal
    # What does not change is said once.
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


async def test_a_model_that_does_not_fit_is_not_tried_again(
    topic: Topic, group: Settings, second: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counting(model: PublishedModel) -> Bundle:
        read.append(model.version)
        return load_published(model)

    monkeypatch.setattr(model_follower, "load_published", counting)
    follower = ModelFollower(group, Models(first_model(group)), fail)
    topic.publish(retrained(second, tmp_path / "other", bound=3.0), 1)
    await follower.start()
    await until(lambda: topic.polls > 5)
    await follower.stop()
    assert follower.refusal is not None
    assert "other scales" in follower.refusal
    assert len(read) == 1


async def test_only_the_one_that_was_published_last_is_tried_again(
    topic: Topic,
    group: Settings,
    evaluation_ground: EvaluationGround,
    bring_files: Callable[[], object],
) -> None:
    models = Models(first_model(group))
    follower = ModelFollower(group, models, fail)
    await follower.start()
    topic.publish(evaluation_ground.bundle, 2)
    await until(lambda: models.newest.number == 2)
    assert follower.refusal is None
    bring_files()
    polls = topic.polls
    await until(lambda: topic.polls > polls + 5)
    await follower.stop()
    assert models.newest.version == evaluation_ground.bundle.version


async def test_a_model_that_was_waited_for_and_has_come_is_not_refused_any_more(
    group: Settings, second: Bundle, bring_files: Callable[[], object]
) -> None:
    models = Models(first_model(group))
    follower = ModelFollower(group, models, fail)
    await follower.start()
    await follower.stop()
    assert follower.refusal is not None
    waiting = asyncio.create_task(follower.wait_for(second.version))
    await until(lambda: follower.waited_for is not None)
    assert (follower.waited_for or "").startswith(f"labels name model {second.version}, and it cannot be used here: ")
    bring_files()
    await asyncio.wait_for(waiting, 30)
    assert not follower.refusal
    assert not follower.waited_for
    assert models.newest.version == second.version


async def test_the_worker_goes_on_while_the_coefficients_of_a_model_are_read(
    topic: Topic, group: Settings, second: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, turned, was_free = asyncio.get_running_loop(), threading.Event(), list[bool]()

    def reading(settings: Settings, bundle: Bundle, number: int) -> Model:
        loop.call_soon_threadsafe(turned.set)
        was_free.append(turned.wait(5))
        return model_of(settings, bundle, number)

    monkeypatch.setattr(model_follower, "model_of", reading)
    models = Models(first_model(group))
    follower = ModelFollower(group, models, fail)
    topic.publish(second, 1)
    await follower.start()
    await follower.stop()
    assert models.newest.version == second.version
    assert was_free == [True]


async def test_a_service_says_that_a_model_is_refused_until_it_can_be_read(
    group: Settings, second: Bundle, bring_files: Callable[[], object]
) -> None:
    models = Models(first_model(group))
    nowhere = group.model_copy(update={"broker": f"127.0.0.1:{free_port()}"})
    follower = TopicsFollower(nowhere, CoefficientStore(), models)
    running = asyncio.create_task(follower.run())
    await until(lambda: follower.refusal is not None)
    assert second.version in (follower.refusal or "")
    bring_files()
    await until(lambda: models.newest.version == second.version)
    assert follower.refusal is None
    follower.stop()
    await running
