import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import chain, repeat

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DescribeGroupsResponse_v0
from aiokafka.protocol.api import Response

from stream_qa.errors import BrokerError, BrokerUnavailableError, PartitionCountError, TopicsError
from stream_qa.events import TopicNames
from stream_qa.kafka_access import KafkaAccess
from stream_qa.topics import Action, apply, compare, members, partition_counts
from stream_qa.topics import broker as topics_on_broker


@pytest.fixture
def prefix() -> str:
    """Give a prefix that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}-"


@pytest.fixture
async def admin(broker: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Give an admin client of our own, to look at the broker past the code under test."""
    client = AIOKafkaAdminClient(bootstrap_servers=broker)
    await client.start()
    yield client
    await client.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the controller has taken to reach the broker's own view."""
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def configuration(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    (resource,) = response.to_object()["resources"]
    return {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]}


async def set_configuration(admin: AIOKafkaAdminClient, topic: str, **config: str) -> None:
    wanted = {key.replace("_", "."): value for key, value in config.items()}
    (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])
    assert [result[0] for result in response.resources] == [0]

    async def is_set() -> bool:
        return wanted.items() <= (await configuration(admin, topic)).items()

    await until(is_set)


async def create(admin: AIOKafkaAdminClient, *topics: NewTopic) -> None:
    await admin.create_topics(list(topics))

    async def are_there() -> bool:
        return {topic.name for topic in topics} <= (await topics_of(admin, "")).keys()

    await until(are_there)


async def topics_of(admin: AIOKafkaAdminClient, prefix: str) -> dict[str, int]:
    described = await admin.describe_topics()
    return {
        topic["topic"].removeprefix(prefix): len(topic["partitions"])
        for topic in described
        if topic["topic"].startswith(prefix)
    }


@pytest.mark.kafka
async def test_apply_creates_all_topics_as_declared(broker: str, prefix: str, admin: AIOKafkaAdminClient) -> None:
    plan = await apply(KafkaAccess((broker,)), prefix)
    assert len(plan.having(Action.CREATE)) == len(TopicNames().all())
    counts = await topics_of(admin, prefix)
    assert len(counts) == len(TopicNames().all())
    assert [counts.pop(name) for name in ("dead-letters", "models", "generations")] == [1, 1, 1]
    assert set(counts.values()) == {4}
    labels = await configuration(admin, f"{prefix}labels")
    assert labels["cleanup.policy"] == "delete"
    assert labels["retention.ms"] == "34560000000"
    assert labels["message.timestamp.type"] == "LogAppendTime"
    assert (await configuration(admin, f"{prefix}job-changelog"))["cleanup.policy"] == "compact"


@pytest.mark.kafka
async def test_applying_twice_changes_nothing(broker: str, prefix: str) -> None:
    await apply(KafkaAccess((broker,)), prefix)
    again = await apply(KafkaAccess((broker,)), prefix)
    assert not again.pending
    assert {topic.action for topic in again.topics} == {Action.NOTHING}


@pytest.mark.kafka
async def test_compare_changes_nothing(broker: str, prefix: str, admin: AIOKafkaAdminClient) -> None:
    assert (await compare(KafkaAccess((broker,)), prefix)).pending
    assert await topics_of(admin, prefix) == {}


@pytest.mark.kafka
async def test_the_count_can_be_overridden(broker: str, prefix: str, admin: AIOKafkaAdminClient) -> None:
    await apply(KafkaAccess((broker,)), prefix, partitions=2, replication_factor=1)
    counts = await topics_of(admin, prefix)
    assert [counts.pop(name) for name in ("dead-letters", "models", "generations")] == [1, 1, 1]
    assert set(counts.values()) == {2}


@pytest.mark.kafka
async def test_drifted_configuration_is_repaired_and_other_keys_are_kept(
    broker: str, prefix: str, admin: AIOKafkaAdminClient
) -> None:
    await apply(KafkaAccess((broker,)), prefix, partitions=1)
    labels = f"{prefix}labels"
    await set_configuration(admin, labels, retention_ms="1000", compression_type="zstd")
    plan = await apply(KafkaAccess((broker,)), prefix, partitions=1)
    assert [topic.name for topic in plan.having(Action.CHANGE)] == [labels]
    repaired = await configuration(admin, labels)
    assert repaired["retention.ms"] == "34560000000"
    assert repaired["message.timestamp.type"] == "LogAppendTime"
    assert repaired["compression.type"] == "zstd"


@pytest.mark.kafka
async def test_another_partition_count_is_refused_and_nothing_else_changes(
    broker: str, prefix: str, admin: AIOKafkaAdminClient
) -> None:
    scores = NewTopic(f"{prefix}scores", 4, 1, topic_configs={"retention.ms": "1000"})
    await create(admin, NewTopic(f"{prefix}labels", 3, 1), scores)
    with pytest.raises(PartitionCountError, match=f"{prefix}labels has 3 partitions and must have 4"):
        await apply(KafkaAccess((broker,)), prefix)
    assert await topics_of(admin, prefix) == {"labels": 3, "scores": 4}
    assert (await configuration(admin, f"{prefix}scores"))["retention.ms"] == "1000"


@pytest.mark.kafka
async def test_undeclared_topics_are_left_alone(broker: str, prefix: str, admin: AIOKafkaAdminClient) -> None:
    await create(admin, NewTopic(f"{prefix}old", 1, 1, topic_configs={"retention.ms": "1000"}))
    plan = await apply(KafkaAccess((broker,)), prefix, partitions=1)
    assert plan.undeclared == (f"{prefix}old",)
    assert len(await topics_of(admin, prefix)) == len(TopicNames().all()) + 1
    assert (await configuration(admin, f"{prefix}old"))["retention.ms"] == "1000"


@pytest.mark.kafka
async def test_two_at_once_both_succeed(broker: str, prefix: str, admin: AIOKafkaAdminClient) -> None:
    await asyncio.gather(
        apply(KafkaAccess((broker,)), prefix, partitions=1), apply(KafkaAccess((broker,)), prefix, partitions=1)
    )
    assert len(await topics_of(admin, prefix)) == len(TopicNames().all())


@pytest.mark.kafka
async def test_what_the_broker_refuses_is_said_once_with_its_reason(broker: str, prefix: str) -> None:
    with pytest.raises(TopicsError, match=f"the broker refuses CreateTopics: [^;]*{prefix}applications, ") as refused:
        await apply(KafkaAccess((broker,)), prefix, replication_factor=100)
    assert ";" not in str(refused.value).partition(prefix)[2]


@pytest.mark.kafka
async def test_partition_counts_of_what_exists_and_what_does_not(
    broker: str, prefix: str, admin: AIOKafkaAdminClient
) -> None:
    names = TopicNames.with_prefix(prefix)
    await create(admin, NewTopic(names.labels, 3, 1))
    assert await partition_counts(KafkaAccess((broker,)), [names.labels, names.scores]) == {
        names.labels: 3,
        names.scores: None,
    }
    assert await topics_of(admin, prefix) == {"labels": 3}, "asking must not create"


@pytest.mark.parametrize("call", [apply, compare])
async def test_no_broker_is_said_in_a_sentence(
    call: Callable[[KafkaAccess], Awaitable[object]], unused_tcp_port: int
) -> None:
    with pytest.raises(BrokerUnavailableError, match=f"no Kafka broker answers at 127.0.0.1:{unused_tcp_port}; check"):
        await call(KafkaAccess((f"127.0.0.1:{unused_tcp_port}",)))


async def test_partition_counts_without_a_broker(unused_tcp_port: int) -> None:
    with pytest.raises(BrokerUnavailableError):
        await partition_counts(KafkaAccess((f"127.0.0.1:{unused_tcp_port}",)), ["labels"])


async def test_a_broker_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_on_broker, "ANSWER_SECONDS", 0.3)
    hung_up = asyncio.Event()

    async def listen_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    server = await asyncio.start_server(listen_only, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    started = time.monotonic()
    async with server:
        with pytest.raises(BrokerUnavailableError, match=f"127.0.0.1:{port}"):
            await apply(KafkaAccess((f"127.0.0.1:{port}",)))
        await asyncio.wait_for(hung_up.wait(), 10)
    assert time.monotonic() - started < 30


GROUP = "a-group"
_LOADING, _NOT_COORDINATOR, _FORBIDDEN = 14, 16, 30


class Coordinator:
    """An admin client that is told these error codes of a group, one after the other, the last one again and again."""

    def __init__(self, *codes: int) -> None:
        self._codes = chain(codes, repeat(codes[-1]))

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def describe_consumer_groups(self, groups: list[str]) -> list[Response]:
        (group,), code = groups, next(self._codes)
        members = [] if code else [("a-member", "", "", b"", b"")]
        return [DescribeGroupsResponse_v0([(code, group, "", "", "", members)])]


def told(monkeypatch: pytest.MonkeyPatch, *codes: int) -> None:
    monkeypatch.setattr(topics_on_broker, "AIOKafkaAdminClient", lambda **_options: Coordinator(*codes))


async def test_members_are_asked_for_again_until_the_coordinator_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, _NOT_COORDINATOR, _LOADING, 0)
    assert await members(KafkaAccess(("nowhere:9",)), GROUP) == 1


async def test_a_coordinator_that_does_not_come_is_no_group_without_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_on_broker, "ANSWER_SECONDS", 0.2)
    told(monkeypatch, _LOADING)
    with pytest.raises(BrokerUnavailableError, match=rf"members of the group {GROUP}: .*GroupLoadInProgressError"):
        await members(KafkaAccess(("nowhere:9",)), GROUP)


async def test_a_group_that_may_not_be_seen_is_no_group_without_members(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, _FORBIDDEN)
    with pytest.raises(BrokerError, match=r"refused: .*GroupAuthorizationFailedError"):
        await members(KafkaAccess(("nowhere:9",)), GROUP)
