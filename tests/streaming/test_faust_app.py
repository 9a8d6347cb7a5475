"""The Faust application: what of Faust it uses, and what it keeps Faust from doing."""

from pathlib import Path

import pytest
from aiokafka.errors import GroupAuthorizationFailedError
from faust.types import TP

from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.faust_app import ChunkApp


@pytest.fixture
def app(tmp_path: Path) -> ChunkApp:
    """Give an application that is not started."""
    settings = Settings(data_directory=tmp_path)
    app = ChunkApp(settings, build_pipeline(settings))
    app.read(settings.topics.applications, settings.topics.engagements, by="label")
    app.read(settings.topics.labels, by="member")
    return app


def test_faust_does_not_keep_the_offset_of_every_chunk(app: ChunkApp) -> None:
    """Nothing here ever takes them out of its lists again: a worker would grow until it is killed."""
    assert {name: agent.channel.acks for name, agent in app.agents.items()} == {"label": False, "member": False}


def test_its_web_server_binds_loopback_unless_told_otherwise(app: ChunkApp) -> None:
    assert (app.conf.web_bind, app.conf.web_host) == ("127.0.0.1", "127.0.0.1")


def test_it_makes_no_topics_and_keeps_no_tables_of_its_own(app: ChunkApp) -> None:
    assert not app.conf.topic_allow_declare
    assert app.conf.topic_disable_leader
    assert not app.tables


async def test_offsets_that_could_not_be_shown_are_shown_later(app: ChunkApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust takes them for shown: where nothing more comes, a lag monitor would show a lag for ever."""
    consumer, place = app.consumer, TP("applications", 0)
    answers = [False, True]

    async def answer(_offsets: object) -> bool:
        return answers.pop(0)

    async def flush() -> None:
        return None

    monkeypatch.setattr(consumer, "assignment", lambda: {place})
    monkeypatch.setattr(consumer, "_commit", answer)
    monkeypatch.setattr(app.producer, "flush", flush)
    assert not await consumer._commit_offsets({place: 5})
    assert consumer._should_commit(place, 5)
    assert await consumer._commit_offsets({place: 5})
    assert not consumer._should_commit(place, 5)


async def test_offsets_that_the_broker_refuses_are_told_and_end_no_worker(
    app: ChunkApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Faust would let every error of its own commit crash the worker."""
    consumer, place = app.consumer, TP("applications", 0)

    class Refusing:
        def assignment(self) -> set[TP]:
            return {place}

        async def commit(self, _offsets: object) -> None:
            raise GroupAuthorizationFailedError("not for you")

    monkeypatch.setattr(consumer._thread, "_consumer", Refusing())
    consumer.show_offsets(consumer.revocations)
    assert not await consumer._commit({place: 5})
    assert "could not be shown" in caplog.text
    assert not consumer._thread.crashed
    assert not consumer.crashed
