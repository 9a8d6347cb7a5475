"""The roles on a broker that allows nothing else: each can do its work, and nothing that is another's."""

import asyncio
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest
from builders import DAY, START, application, engagement
from ground import PARTITIONS, PROGRAM, Ground, job_in
from secure_broker import ROLES, SecureBroker, settings_of
from service_process import ready, service
from test_serving import scored

from stream_qa.errors import TransactionRefusedError
from stream_qa.kafka_access import KafkaAccess
from stream_qa.settings import Settings
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.transactions import Transactions
from stream_qa.streaming.worker import EXIT_FAILED
from stream_qa.topics import apply, load_roles

# The first test waits for a broker with TLS to start as well.
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

JOB = job_in(1)
# Kafka's numbers.
_RESOURCES = {"--topic": 2, "--group": 3, "--transactional-id": 5}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11}
_ANY, _LITERAL, _PREFIXED, _ALLOW = 1, 3, 4, 3


def parsed(line: str) -> Iterator[tuple[int, str, int, str, str, int, int]]:
    """Yield what a kafka-acls command allows, as the protocol says it."""
    words = shlex.split(line)
    given = list(pairwise(words))
    (principal,) = [value for word, value in given if word == "--allow-principal"]
    pattern = _PREFIXED if ("--resource-pattern-type", "prefixed") in given else _LITERAL
    for word, name in given:
        for other, operation in given:
            if word in _RESOURCES and other == "--operation":
                yield _RESOURCES[word], name, pattern, principal, "*", _OPERATIONS[operation], _ALLOW


async def allow(broker: SecureBroker, lines: Iterable[str]) -> None:
    """Do as the commands say; return when the broker goes by it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.broker.bootstrap)
    await admin.start()
    try:
        wanted = [entry for line in lines for entry in parsed(line)]
        for entry in wanted:
            answer = await admin._send_request(CreateAclsRequest(*entry))
            assert answer.creation_responses[0][0] == 0, answer
        principals = {entry[3] for entry in wanted}
        while True:
            held = {
                (resource, name, pattern, principal, operation)
                for each in principals
                for resource, name, pattern, acls in await described(admin, each)
                for principal, _, operation, _ in acls
            }
            if {(entry[0], entry[1], entry[2], entry[3], entry[5]) for entry in wanted} <= held:
                return
    finally:
        await admin.close()


async def described(admin: AIOKafkaAdminClient, principal: str) -> Any:  # noqa: ANN401 # the library's
    answer = await admin._send_request(DescribeAclsRequest(_ANY, None, _ANY, principal, None, _ANY, _ANY))
    assert answer.error_code == 0
    return answer.resources


def run(environment: dict[str, str], *arguments: str) -> str:
    """Return what a command prints."""
    done = ran(environment, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(environment: dict[str, str], *arguments: str) -> str:
    """Return what a command prints that does not end well."""
    done = ran(environment, *arguments)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def ran(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    ground = Ground(settings_of(environment), Path(), environment)
    return subprocess.run(
        [*PROGRAM, *arguments], env=ground.whole_environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def of_role(secure_broker: SecureBroker, tmp_path: Path) -> dict[str, dict[str, str]]:
    """Give the settings of each role, on topics of one's own, when the broker allows what the command printed."""
    prefix = f"roles-{tmp_path.name}-"
    more = {"STREAM_QA_TOPIC_PREFIX": prefix, "STREAM_QA_APP_ID": f"{prefix}workers"}
    of_role = {role: {**secure_broker.by_password(role), **more} for role in ROLES}
    lines = [run(env, "topics", "acls", role, "--principal", f"User:{role}") for role, env in of_role.items()]
    asyncio.run(allow(secure_broker, [line for each in lines for line in each.splitlines()]))
    return of_role


def test_the_roles_are_those_of_the_file() -> None:
    assert tuple(load_roles()) == ROLES


def test_each_role_can_do_its_work(of_role: dict[str, dict[str, str]], tmp_path: Path) -> None:
    run(of_role["operator"], "topics", "apply", "--yes", "--partitions", str(PARTITIONS))
    run(of_role["operator"], "topics", "apply", "--yes")
    grounds = {role: Ground(settings_of(env), tmp_path, env) for role, env in of_role.items()}
    topics = grounds["worker"].settings.topics
    # With all that a worker can be asked to do: notifications, and ticks for inputs that are quiet.
    everything = {"STREAM_QA_NOTIFY_PER_JOB_AND_DAY": "3", "STREAM_QA_QUIET_SECONDS": "1"}
    producer, operator = grounds["producer"], grounds["operator"]

    def send(topic: str, *values: bytes) -> None:
        asyncio.run(producer.produce(topic, [(JOB.encode(), value) for value in values], 1))

    with grounds["worker"].worker(**everything), service(grounds["server"]) as client:
        applied = application(job_id=JOB).model_dump_json(exclude_none=True).encode()
        send(topics.applications, applied, b"no json")
        send(topics.engagements, engagement(job_id=JOB).model_dump_json().encode())
        while not (ready(client) and scored(client)["jobs"][JOB]["version"]):
            time.sleep(0.1)
        asyncio.run(operator.read(topics.dead_letters, until=lambda records: len(records) == 1))
        assert len(json.loads(run(of_role["operator"], "dead-letters", "redrive", "--all", "--json"))["sent"]) == 1
        asyncio.run(operator.read(topics.dead_letters, until=lambda records: len(records) == 3))
        asyncio.run(operator.read(topics.ticks, until=lambda records: len(records) > 0))
        assert "member:member-1" in run(of_role["operator"], "coefficients", "get", "member:member-1")
        run(of_role["operator"], "coefficients", "snapshot")
        run(of_role["operator"], "models", "list")
        log = tmp_path / "log.jsonl"
        later = application("application-2", job_id=JOB, applied_at=START + 2 * DAY)
        log.write_bytes(orjson.dumps({"type": "application", **later.model_dump()}) + b"\nnonsense")
        counts = operator.replay(log, tmp_path / "emitted")
        assert (counts["applications"], counts["dead_letters"]) == (1, 1)


def test_who_only_looks_needs_what_the_page_names_and_is_told_what_is_lacking(
    secure_broker: SecureBroker, tmp_path: Path
) -> None:
    more = {"STREAM_QA_TOPIC_PREFIX": f"looks-{tmp_path.name}-", "STREAM_QA_APP_ID": f"looks-{tmp_path.name}"}
    onlooker = {**secure_broker.by_password("operator"), **more}
    run({**secure_broker.by_password(), **more}, "topics", "apply", "--yes", "--partitions", str(PARTITIONS))
    lines = run(onlooker, "topics", "acls", "operator", "--principal", "User:operator").splitlines()
    plan = ["topics", "plan", "--partitions", str(PARTITIONS)]

    def may(*operations: str) -> None:
        less = [re.sub(rf"--operation (?!({'|'.join(operations)}) )\S+ ", "", line) for line in lines[:-1]]
        asyncio.run(allow(secure_broker, less))

    may("Read", "Describe")
    assert "the broker refuses DescribeConfigs: Topic authorization failed" in refused(onlooker, *plan)
    may("Read", "Describe", "DescribeConfigs")
    run(onlooker, *plan)
    for looking in ("dead-letters list", "models list", "rebuild status"):
        run(onlooker, *looking.split())
    status = json.loads(refused(onlooker, "status", "--json"))
    assert [each["what"] for each in status["findings"] if not each["well"]] == ["workers"]


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_reads_and_writes_its_topics_and_no_others(
    secure_broker: SecureBroker, of_role: dict[str, dict[str, str]], role: str
) -> None:
    settings = settings_of(of_role[role])
    admin = settings_of(secure_broker.by_password()).kafka
    await apply(admin, settings.topic_prefix, partitions=1)
    for name in settings.topics.all():
        await write(admin, name)
    declared = load_roles()[role].topics
    written, read = set(), set()
    for name in settings.topics.all():
        if await may_write(settings.kafka, name):
            written.add(settings.topics.declared(name))
        if await may_read(settings.kafka, name):
            read.add(settings.topics.declared(name))
    assert written == set(declared.get("Write", []))
    assert read == set(declared.get("Read", []))


async def write(kafka: KafkaAccess, topic: str) -> None:
    producer = AIOKafkaProducer(**kafka.options())
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"value", b"key", partition=0)
    finally:
        await producer.stop()


async def may_write(kafka: KafkaAccess, topic: str) -> bool:
    try:
        await write(kafka, topic)
    except TopicAuthorizationFailedError:
        return False
    return True


async def may_read(kafka: KafkaAccess, topic: str) -> bool:
    """Return whether a topic's record can be had."""
    consumer = AIOKafkaConsumer(**kafka.options(), auto_offset_reset="none", enable_auto_commit=False)
    await consumer.start()
    try:
        if topic not in await consumer.topics():
            return False
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)
        await consumer.getone()
    except TopicAuthorizationFailedError:
        return False
    finally:
        await consumer.stop()
    return True


@pytest.mark.parametrize(
    ("role", "seen"), [("producer", "applications"), ("server", "coefficients"), ("operator", "labels")]
)
async def test_nobody_but_workers_joins_their_group_or_fences_them(
    secure_broker: SecureBroker, of_role: dict[str, dict[str, str]], role: str, seen: str
) -> None:
    settings: Settings = settings_of(of_role[role])
    await apply(settings_of(secure_broker.by_password()).kafka, settings.topic_prefix, partitions=1)
    topic = settings.topics.of_declared(seen)
    joining = AIOKafkaConsumer(topic, **settings.kafka.options(), group_id=settings.group_id)
    with pytest.raises(GroupAuthorizationFailedError):
        await joining.start()
    await joining.stop()
    connections = Connections(settings.kafka, "test", [topic])
    fencing = Transactions(connections, f"{settings.topics.label_changelog}-0", 10.0)
    try:
        with pytest.raises(TransactionRefusedError, match="does not allow it"):
            await fencing.initialise()
    finally:
        await connections.stop()


def test_a_worker_that_may_not_join_its_group_ends_and_says_so(
    of_role: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    run(of_role["operator"], "topics", "apply", "--yes", "--partitions", str(PARTITIONS))
    elsewhere = {**of_role["worker"], "STREAM_QA_APP_ID": "a-group-of-others"}
    ground = Ground(settings_of(elsewhere), tmp_path, elsewhere)
    worker = ground.run("worker")
    try:
        assert worker.wait(60) == EXIT_FAILED
    finally:
        worker.kill()
        worker.wait()
    said = ground.log_of("worker").read_text()
    assert "the worker stops on an error of the broker: GroupAuthorizationFailedError" in said


def test_a_worker_that_is_shown_no_topics_does_not_start(of_role: dict[str, dict[str, str]], tmp_path: Path) -> None:
    run(of_role["operator"], "topics", "apply", "--yes", "--partitions", str(PARTITIONS))
    ground = Ground(settings_of(of_role["server"]), tmp_path, of_role["server"])
    worker = ground.run("worker")
    try:
        assert worker.wait(60) == 1
    finally:
        worker.kill()
        worker.wait()
    assert "or does not show it to us" in ground.log_of("worker").read_text()
