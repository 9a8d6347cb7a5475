"""How workers come back to their group, leave it, and what happens when two have one name."""

import asyncio
from pathlib import Path

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from ground import PARTITIONS, Ground, job_in
from test_worker import application

from stream_qa.errors import InstanceIdError
from stream_qa.settings import Settings
from stream_qa.streaming.membership import Member, instance_id
from stream_qa.streaming.worker import EXIT_FAILED

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

#: Longer than any of these tests may take: who waits for a session to end fails.
LONG_SESSION = {"STREAM_QA_SESSION_TIMEOUT_SECONDS": "600"}


async def process_one_in_every_partition(ground: Ground) -> None:
    """Return when every partition has made a label of something new."""
    topics = ground.settings.topics
    before = sum(map(len, (await ground.read(topics.labels)).values()))
    for partition in range(PARTITIONS):
        value = orjson.dumps(application(f"a-{before}-{partition}", job_in(partition)))
        await ground.produce(topics.applications, [(b"key", value)], partition)
    found = await ground.read(topics.labels, until=lambda found: len(found) >= before + PARTITIONS)
    origins = {orjson.loads(record.value)["origin"] for records in found.values() for record in records}
    assert origins == set(range(PARTITIONS))


def test_killed_and_started_again_it_is_back_at_once(ground: Ground) -> None:
    for _ in range(2):
        with ground.worker("one", **LONG_SESSION) as worker:
            asyncio.run(process_one_in_every_partition(ground))
            worker.kill()
            worker.wait()
    with ground.worker("one", **LONG_SESSION):
        asyncio.run(process_one_in_every_partition(ground))


def test_one_that_leaves_in_order_gives_its_partitions_up_at_once(ground: Ground) -> None:
    with ground.worker("first", **LONG_SESSION):
        with ground.worker("second", **LONG_SESSION):
            asyncio.run(process_one_in_every_partition(ground))
        asyncio.run(process_one_in_every_partition(ground))


def test_of_two_with_one_name_the_first_ends_and_says_so(ground: Ground) -> None:
    same = {"STREAM_QA_INSTANCE_ID": "the-same"}
    first = ground.run("first", **same)
    try:
        while "Worker ready" not in ground.log_of("first").read_text():
            assert first.poll() is None
            asyncio.run(asyncio.sleep(0.1))
        with ground.worker("second", **same):
            assert first.wait(timeout=60) == EXIT_FAILED
            asyncio.run(process_one_in_every_partition(ground))
    finally:
        first.kill()
        first.wait()
    said = ground.log_of("first").read_text()
    assert "the worker stops: InstanceIdError" in said
    assert "the-same" in said


def member(ground: Ground) -> Member:
    """One of two with one name, whose next heartbeat is far away."""
    return Member(
        **ground.settings.kafka.options(),
        group_id=ground.settings.app_id,
        group_instance_id="the-same",
        heartbeat_interval_ms=60_000,
        session_timeout_ms=200_000,
        enable_auto_commit=False,
    )


async def until_it_is_of_the_group(one: Member) -> None:
    """Return when a member has its partitions."""
    while not one.assignment():
        await one.getmany(timeout_ms=50)


@pytest.mark.parametrize("notices_by", ["offsets", "joining"])
async def test_one_whose_name_was_taken_does_not_take_it_back(ground: Ground, notices_by: str) -> None:
    topic = ground.settings.topics.applications
    async with member(ground) as first, member(ground) as second:
        first.subscribe([topic])
        await until_it_is_of_the_group(first)
        second.subscribe([topic])
        await until_it_is_of_the_group(second)
        coordinator = first._coordinator
        reading = asyncio.create_task(first.getmany(timeout_ms=200_000))
        while not first._subscription._fetch_waiters:  # noqa: ASYNC110 # the library's own, and no event
            await asyncio.sleep(0)
        if notices_by == "offsets":
            with pytest.raises(CommitFailedError):
                await first.commit({TopicPartition(topic, 0): 0})
        else:
            coordinator.request_rejoin()
        with pytest.raises(KafkaError) as raised:
            await coordinator._coordination_task
        assert isinstance(raised.value.__cause__, InstanceIdError)
        # Whoever waits for records may be the first to end the worker, so it must have the reason as well.
        with pytest.raises(InstanceIdError):
            await reading
        assert await second._coordinator._do_heartbeat()


def test_the_name_is_of_the_host_and_the_data_directory(tmp_path: Path) -> None:
    here = Settings(data_directory=tmp_path / "here")
    assert instance_id(here) == instance_id(Settings(data_directory=tmp_path / "there" / ".." / "here"))
    assert instance_id(here) != instance_id(Settings(data_directory=tmp_path / "there"))
    assert instance_id(Settings(instance_id="mine")) == "mine"
    assert instance_id(Settings(instance_id="none")) is None
