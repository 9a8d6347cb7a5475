"""What a worker does when what it stands on fails: the broker, the disk, the topics, its own code, its clock."""

import asyncio
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from ground import PARTITIONS, Ground, job_in, new_ground
from monitoring import readiness, scraped
from poison import POISON
from ports import free_port
from test_worker import application, expected, labels_so_far, log, newest_labels, replaying, wait_for_more_labels

from stream_qa.broker import DevelopmentBroker
from stream_qa.events.dead_letter import EXCEPTION_CLASS, EXCEPTION_MESSAGE, OFFSET, STAGE, TOPIC
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.worker import EXIT_FAILED
from stream_qa.topics import apply

__all__ = ["expected", "log"]
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

FAULTY = [
    *(sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); from faust.cli.faust import cli; cli()"),
    *(str(Path(__file__).parent), "-A", "faulty_app", "worker", "-l", "info"),
]
#: The shortest that brokers allow.
SHORT_SESSION = {"STREAM_QA_SESSION_TIMEOUT_SECONDS": "6"}


@pytest.fixture
def own_broker(broker: str, tmp_path: Path) -> Iterator[DevelopmentBroker]:  # noqa: ARG001 # skips where it does
    """Give a broker that may be stopped."""
    own = DevelopmentBroker(tmp_path / "broker", free_port())
    own.up()
    yield own
    own.down()


def wait_until_ready(port: int, status: int) -> str | None:
    """Return what /readyz says is wrong once it has this status."""
    while True:
        found, said = readiness(port)
        if found == status:
            return "; ".join(said["reasons"]) or None
        time.sleep(0.2)


@pytest.mark.parametrize("stop", ["in order", "kill -9"])
def test_while_the_broker_is_gone_it_waits_says_so_and_goes_on_when_it_is_back(
    own_broker: DevelopmentBroker, tmp_path: Path, log: Path, expected: dict[str, int], stop: str
) -> None:
    ground = new_ground(own_broker.bootstrap, tmp_path)
    port = free_port()
    with ground.worker(STREAM_QA_WEB_PORT=str(port), **SHORT_SESSION) as worker, replaying(ground, log) as replay:
        assert wait_until_ready(port, 200) is None
        wait_for_more_labels(ground, replay, than=0)
        own_broker.kill() if stop == "kill -9" else own_broker.down()
        said = wait_until_ready(port, 503)
        assert said is not None
        assert "no Kafka broker answers" in said or "is being restored" in said
        metrics = scraped(port)
        assert [sample.value for sample in metrics["stream_qa_ready"].samples] == [0]
        assert metrics["stream_qa_lag_records"].samples == []
        assert metrics["stream_qa_events_total"].samples != []
        time.sleep(float(SHORT_SESSION["STREAM_QA_SESSION_TIMEOUT_SECONDS"]))  # the fault itself: away for a session
        own_broker.up()
        assert wait_until_ready(port, 200) is None
        replay.wait(timeout=120)
        with replaying(ground, log) as again:  # whatever the producer gave up on; the rest are duplicates
            assert again.wait(timeout=120) == 0
        assert newest_labels(ground) == expected
        assert worker.poll() is None


def test_asked_to_end_while_the_broker_is_gone_it_ends(own_broker: DevelopmentBroker, tmp_path: Path) -> None:
    ground = new_ground(own_broker.bootstrap, tmp_path)
    with ground.worker() as worker:
        own_broker.kill()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0


def test_a_paused_worker_finds_itself_replaced_drops_what_it_had_and_joins_again(
    ground: Ground, log: Path, expected: dict[str, int]
) -> None:
    with (
        ground.worker("first", **SHORT_SESSION) as first,
        ground.worker("second", **SHORT_SESSION),
        replaying(ground, log, "130000x") as replay,
    ):
        for _ in range(2):
            wait_for_more_labels(ground, replay, than=labels_so_far(ground))
            first.send_signal(signal.SIGSTOP)
            # The fault itself: paused until the other has had all partitions for a while.
            time.sleep(1.5 * float(SHORT_SESSION["STREAM_QA_SESSION_TIMEOUT_SECONDS"]))
            first.send_signal(signal.SIGCONT)
        assert replay.wait(timeout=120) == 0
        assert newest_labels(ground) == expected
        assert first.poll() is None


def exits(ground: Ground, name: str, *program: str, **settings: str) -> str:
    """Run a worker until it ends by itself, with the code for that, and return what it said."""
    worker = ground.run(name, *program, **settings)
    try:
        assert worker.wait(timeout=60) == EXIT_FAILED
    finally:
        worker.kill()
        worker.wait()
    return ground.log_of(name).read_text()


async def produce_applications(ground: Ground, count: int) -> None:
    """Send applications to every partition and wait for their labels."""
    topics = ground.settings.topics
    for partition in range(PARTITIONS):
        values = [orjson.dumps(application(f"a-{partition}-{number}", job_in(partition))) for number in range(count)]
        await ground.produce(topics.applications, [(b"key", value) for value in values], partition)
    await ground.read(topics.labels, until=lambda found: len(found) >= PARTITIONS * count)


async def recreate(ground: Ground, topic: str, *, records: int) -> None:
    """Delete a topic and make it anew, with some records in every partition."""
    admin = AIOKafkaAdminClient(**ground.settings.kafka.options())
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()
    await apply(ground.settings.kafka, ground.settings.topic_prefix, partitions=PARTITIONS)
    for partition in range(PARTITIONS):
        value = orjson.dumps(application("other", "other"))
        await ground.produce(topic, [(b"key", value)] * records, partition)


@pytest.mark.parametrize("records", [0, 20])
def test_an_input_topic_that_was_made_anew_is_refused_however_long_it_is(ground: Ground, records: int) -> None:
    topic = ground.settings.topics.applications
    with ground.worker("worker"):
        asyncio.run(produce_applications(ground, 5))
    asyncio.run(recreate(ground, topic, records=records))
    said = exits(ground, "worker", **SHORT_SESSION)
    assert "the worker stops: TopicReplacedError" in said
    assert f"{topic} was deleted and made anew" in said


def test_topics_whose_partitions_were_added_to_are_refused(ground: Ground) -> None:
    with ground.worker("worker"):
        asyncio.run(produce_applications(ground, 1))

    async def grow() -> None:
        admin = AIOKafkaAdminClient(**ground.settings.kafka.options())
        await admin.start()
        try:
            together = ground.settings.topics.partitioned_together()
            await admin.create_partitions({topic: NewPartitions(PARTITIONS + 2) for topic in together})
        finally:
            await admin.close()

    asyncio.run(grow())
    said = exits(ground, "worker")
    assert "the worker stops: PartitionCountError" in said
    assert f"had {PARTITIONS} partitions" in said


def test_a_disk_that_takes_no_more_stops_the_worker_and_nothing_is_lost(
    ground: Ground, log: Path, expected: dict[str, int]
) -> None:
    with replaying(ground, log) as replay:
        worker = ground.run("worker")
        try:
            wait_for_more_labels(ground, replay, than=0)
            # As a full disk would, but for files of this process only.
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (400_000, 400_000))
            assert worker.wait(timeout=60) == EXIT_FAILED
        finally:
            worker.kill()
            worker.wait()
        said = ground.log_of("worker").read_text()
        assert "the worker stops: DiskError: the table" in said
        with ground.worker("worker"):
            assert replay.wait(timeout=120) == 0
            assert newest_labels(ground) == expected


def poisoned(ground: Ground) -> tuple[list[bytes], int]:
    """Send good applications, one of the poisonous member and good ones again; return the good members and where."""
    members = [f"member-{number}" for number in range(40)]
    poison = POISON.decode()
    partition = partition_of(POISON, PARTITIONS)
    values = [
        orjson.dumps({**application(f"a-{place}", job_in(0)), "member_id": member})
        for place, member in enumerate([*members[:20], poison, *members[20:]])
    ]
    records: list[tuple[bytes | None, bytes | None]] = [(b"job-1", value) for value in values]
    asyncio.run(ground.produce(ground.settings.topics.applications, records, 0))
    return [member.encode() for member in members], partition


def test_a_bug_stops_the_worker_at_the_record_again_and_again(ground: Ground) -> None:
    _, partition = poisoned(ground)
    for name in ("first", "second"):
        said = exits(ground, name, *FAULTY, STREAM_QA_INSTANCE_ID="none", **SHORT_SESSION)
        assert "the worker stops: PoisonousRecordError: the member stage fails on the record of" in said
        assert f"{ground.settings.topics.labels}-{partition} at offset" in said
        assert "ZeroDivisionError" in said


def test_told_to_go_around_bugs_it_keeps_the_record_and_processes_all_others(ground: Ground) -> None:
    members, _ = poisoned(ground)
    topics = ground.settings.topics
    worker = ground.run("worker", *FAULTY, STREAM_QA_ON_BUG="dead-letter")
    try:
        scores = asyncio.run(ground.read(topics.scores, until=lambda found: len(found) >= len(members)))
        letters = asyncio.run(ground.read(topics.dead_letters, until=lambda found: len(found) >= 1))
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()
    scored = [orjson.loads(record.value)["member_id"].encode() for records in scores.values() for record in records]
    assert sorted(scored) == sorted(members)
    (letter,) = [record for records in letters.values() for record in records]
    headers = dict(letter.headers)
    labels = asyncio.run(ground.read(topics.labels))
    (poison,) = [record for records in labels.values() for record in records if record.key == POISON]
    assert (letter.key, letter.value) == (poison.key, poison.value)
    assert headers[TOPIC] == topics.labels.encode()
    assert headers[OFFSET] == str(poison.offset).encode()
    assert headers[STAGE] == b"member"
    assert headers[EXCEPTION_CLASS] == b"stream_qa.errors.PoisonousRecordError"
    assert headers[EXCEPTION_MESSAGE].endswith(b"ZeroDivisionError: a bug with " + POISON)


def test_a_transaction_that_does_not_end_on_a_changelog_stops_the_worker(ground: Ground) -> None:
    """It may be committed later, and then stand beside what was made in its place."""
    place = ground.settings.topics.label_changelog

    async def begin() -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**ground.settings.kafka.options(), transactional_id="somebody")
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(place, b"value", b"key", partition=1)
        return producer

    async def run() -> None:
        producer = await begin()
        try:
            worker = ground.run("worker", **SHORT_SESSION)
            try:
                assert await asyncio.to_thread(worker.wait, 60) == EXIT_FAILED
            finally:
                worker.kill()
        finally:
            await producer.abort_transaction()
            await producer.stop()

    asyncio.run(run())
    said = ground.log_of("worker").read_text()
    assert f"HangingTransactionError: {place}-1 ends at offset 1, but a transaction hangs at 0" in said
    with ground.worker():
        pass
