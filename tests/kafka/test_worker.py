"""How a real worker process behaves: what it refuses, what it keeps, and how it ends and comes back."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.record.util import calc_crc32c
from ground import PARTITIONS, PROGRAM, Ground
from ports import free_port
from service_process import END_SECONDS

from stream_qa.events.dead_letter import EXCEPTION_CLASS, EXCEPTION_MESSAGE, OFFSET, PARTITION, STAGE, TOPIC
from stream_qa.kafka_access import KafkaAccess
from stream_qa.streaming.batches import Batch, Batches
from stream_qa.streaming.connections import Connections
from stream_qa.streaming.partitioner import partition_of
from stream_qa.streaming.transactions import Transactions
from stream_qa.streaming.worker import EXIT_FAILED
from stream_qa.topics import apply

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

DAY = 24 * 60 * 60 * 1000
#: 60 days in 20 seconds.
PACE = "260000x"


def refusal(environment: dict[str, str], directory: Path) -> str:
    """Return what a worker says that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker"],
        env={**os.environ, "STREAM_QA_DATA_DIRECTORY": str(directory / "state"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def test_it_refuses_to_start_without_a_broker(tmp_path: Path) -> None:
    said = refusal({"STREAM_QA_BROKER": f"127.0.0.1:{free_port()}"}, tmp_path)
    assert said.startswith("The worker does not start: ")
    assert "127.0.0.1" in said
    assert said.count("\n") == 0


def test_it_refuses_to_start_without_its_topics(broker: str, tmp_path: Path) -> None:
    said = refusal({"STREAM_QA_BROKER": broker, "STREAM_QA_TOPIC_PREFIX": "nowhere-"}, tmp_path)
    assert "nowhere-applications" in said
    assert "stream-qa topics apply" in said


def test_it_refuses_to_start_where_partitions_could_not_meet(broker: str, tmp_path: Path) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewPartitions  # noqa: PLC0415

    async def grow_one() -> None:
        await apply(KafkaAccess((broker,)), "unequal-", partitions=2)
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        try:
            await admin.create_partitions({"unequal-engagements": NewPartitions(3)})
        finally:
            await admin.close()

    asyncio.run(grow_one())
    said = refusal({"STREAM_QA_BROKER": broker, "STREAM_QA_TOPIC_PREFIX": "unequal-"}, tmp_path)
    assert "unequal-engagements 3" in said
    assert "unequal-applications 2" in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [("STREAM_QA_LEARNING_RATE", "fast"), ("STREAM_QA_LERNING_RATE", "1"), ("STREAM_QA_POLICY", "/no")],
)
def test_it_refuses_to_start_with_a_setting_that_it_cannot_read(variable: str, value: str, tmp_path: Path) -> None:
    said = refusal({variable: value}, tmp_path)
    assert said.startswith("The worker does not start: ")
    assert variable in said or value in said


def test_it_refuses_to_start_in_the_directory_of_another_worker(ground: Ground) -> None:
    with ground.worker("shared"):
        said = refusal(
            {**ground.environment, "STREAM_QA_DATA_DIRECTORY": str(ground.directory / "shared")}, ground.directory
        )
    assert "another worker uses" in said


def test_it_refuses_to_start_where_its_web_port_is_taken(ground: Ground) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = refusal({**ground.environment, "STREAM_QA_WEB_PORT": port}, ground.directory)
    assert f"port {port}" in said
    assert "STREAM_QA_WEB_PORT" in said


def test_what_it_cannot_use_is_kept_untouched_with_the_reason_and_the_partition_goes_on(ground: Ground) -> None:
    topics = ground.settings.topics
    job_id = "job-1"
    partition = partition_of(job_id.encode(), PARTITIONS)
    good = orjson.dumps(application("good", job_id))
    bad: list[tuple[bytes | None, bytes | None, str]] = [
        (b"key", b"no json", "NotJSONError"),
        (None, b"{}", "InvalidEventError"),
        (b"key", b'{"application_id": NaN}', "InvalidEventError"),
        (b"key", good.replace(b"0.5", b"1e999", 1), "InvalidEventError"),
        (b"key", None, "InvalidEventError"),
        (
            b"key",
            orjson.dumps({**application("shorter", job_id), "member_features": [1.0]}),
            "FeatureSchemaMismatchError",
        ),
        (b"key", orjson.dumps(application("i" * 257, job_id)), "InvalidEventError"),
        (b"key", orjson.dumps({**application("large", job_id), "unknown": "x" * 1_000_000}), "MessageTooLargeError"),
        (b"key", orjson.dumps({**application("good", job_id), "member_id": "another"}), "ConflictingDuplicateError"),
    ]
    last = orjson.dumps(application("last", job_id))
    records = [(b"key", good), *((key, value) for key, value, _ in bad), (b"key", last)]

    with ground.worker():
        asyncio.run(ground.produce(topics.applications, records, partition))
        labels = asyncio.run(ground.read(topics.labels, until=lambda found: len(found) == 2))
        dead = asyncio.run(ground.read(topics.dead_letters, until=lambda found: len(found) == len(bad)))

    opened = {orjson.loads(record.value)["application_id"] for found in labels.values() for record in found}
    assert opened == {"good", "last"}
    letters = [record for found in dead.values() for record in found]
    by_offset = {int(dict(record.headers)[OFFSET]): record for record in letters}
    for offset, (key, value, reason) in enumerate(bad, start=1):
        letter = by_offset[offset]
        headers = dict(letter.headers)
        assert (letter.key, letter.value) == (key, value)
        assert letter.headers[0] == ("trace", b"abc")
        assert headers[TOPIC] == topics.applications.encode()
        assert headers[PARTITION] == str(partition).encode()
        assert headers[STAGE] == b"label"
        assert headers[EXCEPTION_CLASS] == f"stream_qa.errors.{reason}".encode()
        assert headers[EXCEPTION_MESSAGE]


def test_it_reads_what_producers_compress_with_any_codec(ground: Ground) -> None:
    topics = ground.settings.topics
    job_id = "job-1"

    async def produce(codec: str) -> None:
        producer = AIOKafkaProducer(**ground.settings.kafka.options(), compression_type=codec)
        # A batch that compression makes no smaller is sent as it is.
        value = orjson.dumps(application(codec, job_id)) + b" " * 1000
        async with producer:
            await producer.send_and_wait(
                topics.applications, value, job_id.encode(), partition_of(job_id.encode(), PARTITIONS)
            )

    codecs = ["gzip", "snappy", "lz4", "zstd"]
    for codec in codecs:
        asyncio.run(produce(codec))
    with ground.worker():
        labels = asyncio.run(ground.read(topics.labels, until=lambda found: len(found) == len(codecs)))
    opened = [orjson.loads(record.value)["application_id"] for found in labels.values() for record in found]
    assert sorted(opened) == sorted(codecs)


def test_what_is_too_large_for_the_dead_letters_when_unpacked_is_told_and_left_where_it_is(ground: Ground) -> None:
    """A broker looks at the size of a batch as it is compressed."""
    topics = ground.settings.topics
    place = (b"job-1", partition_of(b"job-1", PARTITIONS))

    async def produce() -> None:
        async with AIOKafkaProducer(
            **ground.settings.kafka.options(), compression_type="gzip", max_request_size=20_000_000
        ) as producer:
            for value in (bytes(11_000_000), orjson.dumps(application("good", "job-1"))):
                await producer.send_and_wait(topics.applications, value, *place)

    asyncio.run(produce())
    with ground.worker():
        asyncio.run(ground.read(topics.labels, until=lambda found: len(found) == 1))
        dead = asyncio.run(ground.read(topics.dead_letters, until=lambda found: len(found) == 1))
    (letter,) = (record for found in dead.values() for record in found)
    assert (letter.key, letter.value) == (None, b"")
    headers = dict(letter.headers)
    assert headers[EXCEPTION_CLASS] == b"stream_qa.errors.MessageTooLargeError"
    assert (headers[TOPIC], headers[OFFSET]) == (topics.applications.encode(), b"0")


def test_it_reads_headers_whose_names_are_no_text(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker takes them from any producer that is no Java program."""
    topics = ground.settings.topics
    place = (topics.applications, partition_of(b"job-1", PARTITIONS))
    finish = Batch.finish

    def spoilt(batch: Batch, *ours: int) -> bytes:
        built = bytearray(finish(batch, *ours).replace(b"name", b"na\xffe"))
        built[17:21] = calc_crc32c(built[21:]).to_bytes(4)
        return bytes(built)

    monkeypatch.setattr(Batch, "finish", spoilt)

    async def produce() -> None:
        connections = Connections(ground.settings.kafka, "test", [topics.applications])
        transactions = Transactions(connections, topics.applications, 30)
        batches = Batches()
        for value in (b"no json", orjson.dumps(application("good", "job-1"))):
            batches.add(place, b"job-1", value, [("name", b"abc")])
        await transactions.initialise()
        await transactions.write(batches)
        await transactions.commit()
        await connections.stop()

    with ground.worker():
        asyncio.run(produce())
        asyncio.run(ground.read(topics.labels, until=lambda found: len(found) == 1))
        dead = asyncio.run(ground.read(topics.dead_letters, until=lambda found: len(found) == 1))
    (letter,) = (record for found in dead.values() for record in found)
    assert letter.headers[0] == ("na\\xffe", b"abc")


def test_killed_and_restarted_again_and_again_it_loses_nothing(
    ground: Ground, log: Path, expected: dict[str, int]
) -> None:
    """The tables are continued, and what was sent but not yet stored is done again under the same revisions."""
    with replaying(ground, log) as replay:
        for _ in range(3):
            before = labels_so_far(ground)
            with ground.worker() as worker:
                wait_for_more_labels(ground, replay, than=before)
                worker.kill()
                worker.wait()
        with ground.worker():
            assert replay.wait(timeout=120) == 0
            assert newest_labels(ground) == expected


def test_with_its_local_state_deleted_it_goes_on_from_the_changelogs(
    ground: Ground, log: Path, expected: dict[str, int]
) -> None:
    with replaying(ground, log) as replay:
        with ground.worker("first") as worker:
            wait_for_more_labels(ground, replay, than=0)
            worker.kill()
            worker.wait()
        with ground.worker("second"):
            assert replay.wait(timeout=120) == 0
            assert newest_labels(ground) == expected


def test_two_workers_share_the_partitions_and_one_takes_over_when_the_other_leaves(
    ground: Ground, log: Path, expected: dict[str, int]
) -> None:
    with ground.worker("first"), ExitStack() as later:
        with ground.worker("second"):
            replay = later.enter_context(replaying(ground, log))
            wait_for_more_labels(ground, replay, than=0)
        assert replay.wait(timeout=120) == 0
        assert newest_labels(ground) == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_in_order(ground: Ground, number: signal.Signals) -> None:
    with ground.worker() as worker:
        worker.send_signal(number)
        assert worker.wait(END_SECONDS) == 0


def test_a_worker_that_can_never_join_its_group_ends_and_says_so(ground: Ground) -> None:
    """Left to itself aiokafka would keep the error until it is asked for records in its own way, and do nothing."""

    async def beside_a_stranger() -> tuple[int | None, str]:
        stranger = AIOKafkaConsumer(
            ground.settings.topics.labels,
            **ground.settings.kafka.options(),
            group_id=ground.settings.app_id,
        )
        await stranger.start()
        try:
            while not stranger.assignment():
                await stranger.getmany(timeout_ms=100)
            settings = {
                "STREAM_QA_DATA_DIRECTORY": str(ground.directory / "worker"),
                "STREAM_QA_WEB_ENABLED": "false",
            }
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker", "-l", "info"),
                env={**os.environ, **ground.environment, **settings},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                output, _ = await asyncio.wait_for(worker.communicate(), 60)
            finally:
                if worker.returncode is None:
                    worker.kill()
                    await worker.wait()
            return worker.returncode, output.decode()
        finally:
            await stranger.stop()

    code, output = asyncio.run(beside_a_stranger())
    assert code == EXIT_FAILED, output
    assert "the worker stops" in output
    assert "InconsistentGroupProtocol" in output


def test_its_web_server_listens_on_loopback_only_and_can_be_off(ground: Ground) -> None:
    port = free_port()
    with ground.worker("with-web", STREAM_QA_WEB_PORT=str(port)):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.status == 200
        assert listening_addresses(port) == {"0100007F"}
    with ground.worker("without-web", STREAM_QA_WEB_PORT=str(port), STREAM_QA_WEB_ENABLED="false"):
        assert listening_addresses(port) == set()


def listening_addresses(port: int) -> set[str]:
    """Return the addresses, as the kernel writes them, on which something listens at ``port``."""
    listening = "0A"
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[1].split(":")[0] for line in lines if line[3] == listening and int(line[1].split(":")[1], 16) == port}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give a log of 12,000 applications to 200 jobs, half of which are answered, over 60 days."""
    path = tmp_path / "log.jsonl"
    applications = 12_000
    with path.open("wb") as lines:
        for number in range(applications):
            applied_at = 60 * DAY * number // applications
            fields = application(f"a{number}", f"job-{number % 200}", applied_at)
            lines.write(orjson.dumps({"type": "application", **fields}) + b"\n")
            if number % 2:
                answer = {
                    "type": "engagement",
                    "application_id": f"a{number}",
                    "job_id": f"job-{number % 200}",
                    "kind": "message" if number % 3 else "rejected",
                    "engaged_at": applied_at + number % (10 * DAY),
                }
                lines.write(orjson.dumps(answer) + b"\n")
    return path


@pytest.fixture
def expected(log: Path, tmp_path: Path) -> dict[str, int]:
    """Give the value of the final label of every application that has one, by the stages without Kafka."""
    out = tmp_path / "in-process"
    subprocess.run(
        [*PROGRAM, "replay", str(log), "--out", str(out), "--partitions", str(PARTITIONS), "--chunk-minutes", "10000"],
        check=True,
        capture_output=True,
    )
    labels = map(orjson.loads, (out / "labels.jsonl").read_bytes().splitlines())
    return {label["application_id"]: label["value"] for label in labels if label["final"]}


@contextmanager
def replaying(ground: Ground, log: Path, pace: str = PACE) -> Iterator["subprocess.Popen[bytes]"]:
    """Replay a log through the broker, over some seconds; it ends when the workers have done all of it."""
    command = [*PROGRAM, "replay", str(log), "--kafka", "--pace", pace]
    replay = subprocess.Popen(command, env=ground.whole_environment, stderr=subprocess.DEVNULL)
    try:
        yield replay
    finally:
        replay.kill()
        replay.wait()


def labels_so_far(ground: Ground) -> int:
    """Return how many labels are on the broker."""
    return sum(map(len, asyncio.run(ground.read(ground.settings.topics.labels)).values()))


def wait_for_more_labels(ground: Ground, replay: "subprocess.Popen[bytes]", than: int) -> None:
    """Return when more labels are on the broker than there were."""
    topic = ground.settings.topics.labels
    asyncio.run(ground.read(topic, until=lambda found: len(found) > than or replay.poll() is not None))
    assert replay.poll() is None, "the log is over"


def newest_labels(ground: Ground) -> dict[str, int]:
    """Return the value of the newest revision of every application whose label is final."""
    found = asyncio.run(ground.read(ground.settings.topics.labels))
    labels = [orjson.loads(record.value) for records in found.values() for record in records]
    newest = {label["application_id"]: label for label in sorted(labels, key=lambda label: int(label["revision"]))}
    return {application_id: label["value"] for application_id, label in newest.items() if label["final"]}


def application(application_id: str, job_id: str, applied_at: int = DAY) -> dict[str, object]:
    """Return an application's fields."""
    return {
        "application_id": application_id,
        "member_id": f"member-of-{application_id}",
        "job_id": job_id,
        "applied_at": applied_at,
        "feature_schema": "test",
        "member_features": [0.5, -1.0],
        "job_features": [0.25],
    }
