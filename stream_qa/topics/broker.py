"""The topics on a broker: what is there, and making it what is declared."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from stream_qa.errors import BrokerError, BrokerUnavailableError, TopicMissingError, TopicsError
from stream_qa.events import TopicNames
from stream_qa.events.topics import FIRST_GENERATION
from stream_qa.kafka_access import KafkaAccess
from stream_qa.topics.declaration import load_declarations
from stream_qa.topics.plan import Action, ExistingTopic, Plan, make_plan
from stream_qa.topics.refusal import why_unavailable

ANSWER_SECONDS = 10.0
#: Between two looks at whether the brokers already show what was applied.
LOOK_AGAIN_SECONDS = 0.05
#: The coordinator is coming: the first group of a broker makes it set up what keeps groups, and a restart moves it.
_COORDINATOR_COMES = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
#: How Kafka's protocol says that a value was set for this one topic and is neither inherited nor a default.
SET_FOR_THE_TOPIC = 1


class _ConfigEntry(NamedTuple):
    value: str
    source: int


async def apply(
    kafka: KafkaAccess,
    prefix: str = "",
    partitions: int | None = None,
    replication_factor: int | None = None,
    generation: int = FIRST_GENERATION,
    *,
    shared: bool = True,
) -> Plan:
    """Create all missing topics and set the declared configuration of the others. Nothing is ever deleted.

    Parameters
    ----------
    kafka
        Where the brokers are.
    prefix
        In front of every declared name.
    partitions
        The count for all topics but the dead letters, instead of the declared one.
    replication_factor
        The factor for the topics that are created, instead of the declared one.
    generation
        Whose topics.
    shared
        Whether also those that all generations have in common.

    Returns
    -------
    Plan
        What was done; when this returns, the broker shows it.

    Raises
    ------
    PartitionCountError
        A topic has another partition count than it must have; nothing was changed.
    TopicsError
        The broker refuses a topic or a configuration, and says why.
    BrokerUnavailableError
        No broker answers.
    """
    async with _connected(kafka) as admin:

        async def planned() -> Plan:
            plan = await _compare(admin, prefix, partitions, replication_factor, generation)
            own = TopicNames.with_prefix(prefix, generation).own()
            return plan if shared else replace(plan, topics=tuple(topic for topic in plan.topics if topic.name in own))

        plan = await planned()
        plan.raise_if_refused()
        await _create(admin, plan)
        await _change(admin, plan)
        left = plan
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while left.pending:
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
                    left = await planned()
                    # Someone else may have created a topic between our look and our request.
                    left.raise_if_refused()
        except TimeoutError:
            raise TopicsError("the broker took the changes but does not show them; plan again") from None
    return plan


async def compare(
    kafka: KafkaAccess,
    prefix: str = "",
    partitions: int | None = None,
    replication_factor: int | None = None,
    generation: int = FIRST_GENERATION,
) -> Plan:
    """Return what :func:`apply` would do, and change nothing."""
    async with _connected(kafka) as admin:
        return await _compare(admin, prefix, partitions, replication_factor, generation)


async def partition_counts(kafka: KafkaAccess, topics: Iterable[str]) -> dict[str, int | None]:
    """Return the partition count of each of ``topics``, ``None`` for one that does not exist. Creates none.

    Raises
    ------
    BrokerUnavailableError
        No broker answers.
    """
    async with _connected(kafka) as admin:
        described = await _describe(admin)
    return {name: len(described[name]["partitions"]) if name in described else None for name in topics}


async def existing_counts(kafka: KafkaAccess, topics: Iterable[str]) -> dict[str, int]:
    """Return the partition count of each of ``topics``, all of which must exist.

    Raises
    ------
    BrokerUnavailableError
        No broker answers.
    TopicMissingError
        A topic does not exist.
    """
    found = await partition_counts(kafka, topics)
    counts = {topic: count for topic, count in found.items() if count is not None}
    missing = [topic for topic in found if topic not in counts]
    if missing:
        hidden = "" if kafka.protocol == "PLAINTEXT" else ", or does not show it to us"
        raise TopicMissingError(f"the broker has no topic {', '.join(missing)}{hidden}; run `stream-qa topics apply`")
    return counts


async def layout(kafka: KafkaAccess, topic: str) -> tuple[int, int]:
    """Return the partition count and the replication factor of a topic.

    Raises
    ------
    BrokerUnavailableError
        No broker answers.
    TopicMissingError
        It does not exist.
    """
    partitions = (await existing_counts(kafka, [topic]))[topic]
    async with _connected(kafka) as admin:
        described = (await _describe(admin))[topic]
    return partitions, max(len(partition["replicas"]) for partition in described["partitions"])


async def delete(kafka: KafkaAccess, topics: Sequence[str]) -> None:
    """Delete topics, with all that is in them; when this returns, the broker does not show them any more.

    Raises
    ------
    TopicsError
        The broker refuses, and says why.
    BrokerUnavailableError
        No broker answers.
    """
    async with _connected(kafka) as admin:
        left = [topic for topic in topics if topic in await _describe(admin)]
        if not left:
            return
        response = (await admin.delete_topics(left)).to_object()
        _raise_refusals(
            "DeleteTopics",
            (
                (result["topic"], result["error_code"], None)
                for result in response["topic_error_codes"]
                # Somebody else may have deleted it between our look and our request.
                if result["error_code"] != UnknownTopicOrPartitionError.errno
            ),
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while not set(left).isdisjoint(await _describe(admin)):  # noqa: ASYNC110 # nobody tells
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
        except TimeoutError:
            raise TopicsError("the broker deletes the topics but still shows them; look again") from None


async def members(kafka: KafkaAccess, group_id: str) -> int:
    """Return how many members a consumer group has; 0 for one that does not exist.

    Raises
    ------
    BrokerError
        The broker refuses to say it.
    BrokerUnavailableError
        No broker answers, or none that knows the group.
    """
    last: KafkaError | None = None
    async with _connected(kafka) as admin:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    try:
                        return await _members(admin, group_id)
                    except _COORDINATOR_COMES as error:
                        last = error
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
        except TimeoutError:
            if last is None:
                raise
            raise BrokerUnavailableError(f"no broker tells the members of the group {group_id}: {last}") from last


async def _members(admin: AIOKafkaAdminClient, group_id: str) -> int:
    (response,) = await admin.describe_consumer_groups([group_id])
    (group,) = response.to_object()["groups"]
    if group["error_code"]:
        raise for_code(group["error_code"])(f"group {group_id}")
    return len(group["members"])


@asynccontextmanager
async def _connected(kafka: KafkaAccess) -> AsyncIterator[AIOKafkaAdminClient]:
    """Give a connected admin client, and say in our own errors what goes wrong with it."""
    admin = AIOKafkaAdminClient(**kafka.options(), request_timeout_ms=int(ANSWER_SECONDS * 1000))
    try:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await admin.start()
            yield admin
        finally:
            await admin.close()
    except (KafkaError, TimeoutError, OSError) as error:
        # Kafka's retriable errors are those of connections, elections and deadlines; the others come with a reason.
        if isinstance(error, KafkaError) and not error.retriable:
            raise BrokerError(f"the Kafka broker at {', '.join(kafka.addresses)} refused: {error}") from error
        raise await why_unavailable(kafka) from error


async def _compare(
    admin: AIOKafkaAdminClient, prefix: str, partitions: int | None, replication_factor: int | None, generation: int
) -> Plan:
    declarations = load_declarations()
    described = await _describe(admin)
    names = [name for name in TopicNames.with_prefix(prefix, generation).all() if name in described]
    configs = await _describe_configs(admin, names)
    existing = {
        name: ExistingTopic(
            partitions=len(topic["partitions"]),
            replication_factor=max((len(partition["replicas"]) for partition in topic["partitions"]), default=0),
            config={key: entry.value for key, entry in configs.get(name, {}).items()},
        )
        for name, topic in described.items()
    }
    return make_plan(declarations, existing, prefix, partitions, replication_factor, generation=generation)


async def _describe(admin: AIOKafkaAdminClient) -> dict[str, Any]:
    """Return all topics but Kafka's internal ones. Asking for some by name could create them."""
    return {topic["topic"]: topic for topic in await admin.describe_topics() if not topic["is_internal"]}


async def _describe_configs(
    admin: AIOKafkaAdminClient, names: Sequence[str]
) -> Mapping[str, Mapping[str, _ConfigEntry]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    responses = await admin.describe_configs(resources)
    results = [
        result
        for response in responses
        for result in response.to_object()["resources"]
        # A broker that has not heard of it yet, or that it is deleted.
        if result["error_code"] != UnknownTopicOrPartitionError.errno
    ]
    _raise_refusals(
        "DescribeConfigs",
        ((result["resource_name"], result["error_code"], result["error_message"]) for result in results),
    )
    return {
        result["resource_name"]: {
            entry["config_names"]: _ConfigEntry(entry["config_value"], entry["config_source"])
            for entry in result["config_entries"]
        }
        for result in results
    }


async def _create(admin: AIOKafkaAdminClient, plan: Plan) -> None:
    topics = [
        NewTopic(topic.name, topic.partitions, topic.replication_factor, topic_configs=dict(topic.config))
        for topic in plan.having(Action.CREATE)
    ]
    if topics:
        response = (await admin.create_topics(topics)).to_object()
        _raise_refusals(
            "CreateTopics",
            (
                (result["topic"], result["error_code"], result["error_message"])
                for result in response["topic_errors"]
                # Another apply at the same time; what it made is compared before ours returns.
                if result["error_code"] != TopicAlreadyExistsError.errno
            ),
        )


async def _change(admin: AIOKafkaAdminClient, plan: Plan) -> None:
    topics = plan.having(Action.CHANGE)
    configs = await _describe_configs(admin, [topic.name for topic in topics])
    resources = []
    for topic in topics:
        if topic.name not in configs:
            continue  # the caller looks again
        # The request replaces all that was set for the topic, so what others set must be in it again.
        kept = {key: entry.value for key, entry in configs[topic.name].items() if entry.source == SET_FOR_THE_TOPIC}
        resources.append(ConfigResource(ConfigResourceType.TOPIC, topic.name, {**kept, **topic.config}))
    if resources:
        for response in await admin.alter_configs(resources):
            _raise_refusals(
                "AlterConfigs",
                (
                    (result["resource_name"], result["error_code"], result["error_message"])
                    for result in response.to_object()["resources"]
                ),
            )


def _raise_refusals(request: str, results: Iterable[tuple[str, int, str | None]]) -> None:
    # What is wrong is mostly the same for many topics: say it once.
    refused: dict[str, list[str]] = {}
    for name, code, message in results:
        if code:
            refused.setdefault(message or f"error {code}", []).append(name)
    if refused:
        reasons = "; ".join(f"{reason} ({', '.join(names)})" for reason, names in refused.items())
        raise TopicsError(f"the broker refuses {request}: {reasons}")
