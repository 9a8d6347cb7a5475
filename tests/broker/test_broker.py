"""The development broker with a real JVM: what it survives, what it refuses, whom it never kills."""

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jgo
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ports import free_port

from stream_qa.broker import DevelopmentBroker, cluster_id, properties
from stream_qa.broker.development import QUICK
from stream_qa.broker.java import ARTIFACTS, JARS_LOCK, java_with_kafka
from stream_qa.errors import BrokerError, BrokerStartError, BrokerUnavailableError

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module", autouse=True)
def _jars() -> None:
    try:
        java_with_kafka(lambda _: None)
    except BrokerStartError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentBroker]:
    """Give one directory to several tests, so that it is formatted once; each leaves it with the broker running."""
    development_broker = DevelopmentBroker(tmp_path_factory.mktemp("a broker"), free_port())
    development_broker.up()
    yield development_broker
    development_broker.down()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[DevelopmentBroker]:
    """Give a directory where no broker has run yet."""
    development_broker = DevelopmentBroker(tmp_path / "broker", free_port())
    yield development_broker
    development_broker.down()


async def make_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1)])
    finally:
        await admin.close()


async def topics(bootstrap: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return list(await admin.list_topics())
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def first_value(bootstrap: str, topic: str) -> bytes | None:
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id="readers", auto_offset_reset="earliest"
    ) as consumer:
        value: bytes | None = (await consumer.getone()).value
        return value


def parent_and_state(pid: int) -> tuple[int, str] | None:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except FileNotFoundError:
        return None
    return int(parent), state


def test_status_before_while_and_after(fresh: DevelopmentBroker) -> None:
    before = fresh.status()
    assert (before.running, before.pid) == (False, None)
    assert not fresh.down()
    assert not fresh.directory.exists()

    fresh.up()
    while_up = fresh.status()
    assert (while_up.running, while_up.pid) == (True, fresh.pid)
    assert while_up.bootstrap == fresh.bootstrap == f"127.0.0.1:{fresh.port}"
    assert while_up.log_file.exists()
    pid = while_up.pid
    assert pid is not None
    assert os.getsid(pid) == pid

    with pytest.raises(BrokerError, match="runs"):
        fresh.delete_data()
    assert fresh.down()
    assert not fresh.down()
    assert fresh.status().running is False
    assert parent_and_state(pid) is None
    with pytest.raises(BrokerUnavailableError):
        cluster_id(fresh.bootstrap)

    fresh.delete_data()
    assert not (fresh.directory / "kafka-data").exists()


def test_a_second_up_finds_the_first(shared: DevelopmentBroker) -> None:
    pid = shared.pid
    shared.up()
    DevelopmentBroker(shared.directory, shared.port).up()
    assert shared.pid == pid


def test_its_java_compiles_quickly_and_not_well_unless_it_is_to_run_for_long(
    shared: DevelopmentBroker, fresh: DevelopmentBroker
) -> None:
    lasting = DevelopmentBroker(fresh.directory, fresh.port, java_options=())
    lasting.up()
    quick, full = (Path(f"/proc/{broker.pid}/cmdline").read_text().split("\0") for broker in (shared, lasting))
    assert set(QUICK) <= set(quick)
    assert not set(QUICK) & set(full)


def test_listens_on_the_loopback_interface_only(shared: DevelopmentBroker) -> None:
    sockets = {str(link.readlink()) for link in Path(f"/proc/{shared.pid}/fd").iterdir() if link.is_symlink()}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                listening.append(fields[1].rpartition(":")[0])
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert len(listening) == 2
    assert set(listening) <= loopback


def test_another_port_for_a_running_broker_is_refused(shared: DevelopmentBroker) -> None:
    with pytest.raises(BrokerStartError, match=f"runs already, at {shared.bootstrap}"):
        DevelopmentBroker(shared.directory, free_port()).up()


async def test_topics_and_records_survive_a_stop(shared: DevelopmentBroker) -> None:
    await make_topic(shared.bootstrap, "kept")
    await send(shared.bootstrap, "kept", b"still here")
    before = cluster_id(shared.bootstrap)
    assert shared.down()
    shared.up()
    assert "kept" in await topics(shared.bootstrap)
    assert await first_value(shared.bootstrap, "kept") == b"still here"
    assert cluster_id(shared.bootstrap) == before


async def test_topics_and_records_survive_a_kill(shared: DevelopmentBroker) -> None:
    await make_topic(shared.bootstrap, "killed")
    await send(shared.bootstrap, "killed", b"acknowledged")
    pid = shared.pid
    shared.kill()
    assert shared.pid is None
    assert pid is not None
    assert parent_and_state(pid) is None
    shared.up()
    assert shared.pid != pid
    assert await first_value(shared.bootstrap, "killed") == b"acknowledged"


async def test_nobody_makes_a_topic_by_asking_for_it(shared: DevelopmentBroker) -> None:
    with pytest.raises(Exception, match=r"UnknownTopicOrPartition|not found|metadata|Unknown"):
        async with AIOKafkaProducer(bootstrap_servers=shared.bootstrap, request_timeout_ms=1_000) as producer:
            await producer.send_and_wait("undeclared", b"")
    assert "undeclared" not in await topics(shared.bootstrap)


def test_the_controller_moves_when_its_port_was_taken_meanwhile(shared: DevelopmentBroker) -> None:
    before = properties.read_ports(shared.directory / "server.properties")
    assert before is not None
    shared.down()
    with socket.create_server(("127.0.0.1", before[1])):
        shared.up()
    after = properties.read_ports(shared.directory / "server.properties")
    assert after is not None
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_of_two_starts_at_once_one_wins(fresh: DevelopmentBroker) -> None:
    pids: list[int | None] = []

    def start() -> None:
        development_broker = DevelopmentBroker(fresh.directory, fresh.port)
        development_broker.up()
        pids.append(development_broker.pid)

    starts = [threading.Thread(target=start) for _ in range(2)]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()
    assert len(pids) == 2
    assert pids[0] is not None
    assert pids[0] == pids[1]


def test_a_taken_port_is_named(fresh: DevelopmentBroker) -> None:
    with (
        socket.create_server(("127.0.0.1", fresh.port)),
        pytest.raises(BrokerStartError, match=f"Port {fresh.port} of 127.0.0.1 is taken"),
    ):
        fresh.up()
    assert fresh.pid is None


def test_a_broken_start_fails_at_once_and_quotes_the_log(
    fresh: DevelopmentBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = properties.render
    monkeypatch.setattr(properties, "render", lambda *given: render(*given) + "num.partitions=many\n")
    (fresh.directory / "kafka-data").mkdir(parents=True)
    (fresh.directory / "kafka-data" / "meta.properties").write_text("version=1\n")  # so that it is not formatted first
    begin = time.monotonic()
    with pytest.raises(BrokerStartError, match="Invalid value many for configuration") as failure:
        fresh.up()
    assert str(fresh.log_file) in str(failure.value)
    assert time.monotonic() - begin < 30
    assert fresh.pid is None


def test_a_broken_format_quotes_the_log(fresh: DevelopmentBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    render = properties.render
    monkeypatch.setattr(properties, "render", lambda *given: render(*given).replace("node.id=1", "node.id=x"))
    with pytest.raises(BrokerStartError, match="Invalid value x for configuration") as failure:
        fresh.up()
    assert str(fresh.log_file) in str(failure.value)


def test_a_start_that_takes_too_long_leaves_nothing_behind(shared: DevelopmentBroker) -> None:
    shared.down()
    impatient = DevelopmentBroker(shared.directory, shared.port, start_seconds=0)
    with pytest.raises(BrokerStartError, match=r"No broker answers at .* after 0 seconds") as failure:
        impatient.up()
    assert str(shared.log_file) in str(failure.value)
    assert impatient.pid is None
    shared.up()


def test_a_stale_pid_file_harms_nobody(fresh: DevelopmentBroker) -> None:
    fresh.directory.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as somebody_else:
        (fresh.directory / "broker.pid").write_text(f"{somebody_else.pid}\n")
        assert fresh.pid is None
        assert not fresh.status().running
        fresh.kill()
        assert not fresh.down()
        assert somebody_else.poll() is None
        somebody_else.communicate(b"\n", timeout=10)
    assert somebody_else.returncode == 0


def test_a_missing_extra_is_one_sentence(fresh: DevelopmentBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)
    with pytest.raises(BrokerStartError, match=r"pip install 'stream-qa\[broker\]'"):
        fresh.up()


def test_two_first_starts_do_not_download_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen on a fresh machine: the jars of one were half there when the other looked."""
    found = jgo.build(ARTIFACTS)

    def build(_artifacts: str) -> object:
        with JARS_LOCK.open("a") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return found

    monkeypatch.setattr(jgo, "build", build)
    java_with_kafka(lambda _: None)


def test_a_comma_in_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerStartError, match="comma"):
        DevelopmentBroker(tmp_path / "one,two", free_port()).up()
