"""Incidents of what a worker and the scoring service stand on: brokers, hosts, disks, certificates, Redis."""

import json
import resource
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ground import PARTITIONS, Ground, new_ground
from ports import free_port
from redis_server import RedisServer
from secure_broker import SecureBroker, certificate, settings_of

from game_day.desk import SHORT_SESSION, Desk, NotSeenError, Process, wait_for
from game_day.traffic import JOBS, applied, engaged, flood, scores, send, send_engagements
from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.ports import LOOPBACK

_FLOOD = 6_000
#: A worker must not be through with it before it has been looked at.
_LAG = 40_000
_DISK_BYTES = 6_000_000


def lag(broker: DevelopmentBroker, directory: Path) -> None:
    """Play applications that came while no worker ran, and come faster than one takes them."""
    desk = Desk(new_ground(broker.bootstrap, directory))
    with desk.worker() as first:
        desk.ready(first)
        send(desk.ground, applied("before"))
        scores(desk.ground, 1)
    flood(desk.ground, "flood", _LAG)
    desk.status(workers=False, lag=False)
    with desk.worker() as first:
        desk.ready(first)
        desk.metrics(first, r"stream_qa_lag_records\{.*[1-9]\d{2,}\.0")
        desk.status(first, lag=False, only="workers|lag|worker http")
        desk.page(first, "/readyz", 200)
        with desk.worker("second", STREAM_QA_DATA_DIRECTORY=str(directory / "second-data")) as second:
            desk.say("$ STREAM_QA_DATA_DIRECTORY=second STREAM_QA_WEB_PORT=6067 faust -A stream_qa.app worker -l info")
            desk.ready(second)
            desk.log("second", "ready: partitions")
            found = scores(desk.ground, PARTITIONS * _LAG + 1)
            desk.say(f"({found} of {PARTITIONS * _LAG + 1} applications are scored)")
            desk.status(first, second, lag=True, only="workers|lag|worker http")


def broker_loss(broker: DevelopmentBroker, directory: Path) -> None:
    """Play a broker that is killed, and started again."""
    desk = Desk(new_ground(broker.bootstrap, directory))
    with desk.worker() as worker:
        desk.ready(worker)
        send(desk.ground, applied("before"))
        scores(desk.ground, 1)
        broker.kill()
        began = time.monotonic()
        desk.page(worker, "/readyz", 503)
        desk.page(worker, "/livez", 200)
        desk.metrics(worker, r"stream_qa_ready 0")
        desk.status(worker)
        desk.log("worker", r"\[(warning|error|critical)")
        desk.say("$ stream-qa broker up")
        broker.up()
        up = time.monotonic()
        desk.ready(worker)
        desk.say(f"(away for {up - began:.0f} s; ready {time.monotonic() - up:.1f} s after it answers)")
        send(desk.ground, applied("after"))
        desk.say(f"({scores(desk.ground, 2)} of 2 applications are scored; the process is the same)")


def fenced_worker(broker: DevelopmentBroker, directory: Path) -> None:
    """Play a worker that is paused for longer than its session, and a second group on the same topics."""
    desk = Desk(new_ground(broker.bootstrap, directory))
    with desk.worker("first", **SHORT_SESSION) as first, desk.worker("second", **SHORT_SESSION) as second:
        desk.ready(first)
        desk.ready(second)
        flood(desk.ground, "flood", 500)
        desk.say("# the first worker is paused (SIGSTOP)")
        first.process.send_signal(signal.SIGSTOP)
        desk.log("second", r"ready: partitions \[0, 1, 2, 3\]")
        desk.status(first, second)
        first.process.send_signal(signal.SIGCONT)
        desk.say("# it goes on (SIGCONT)")
        desk.log("first", r"\[(warning|error|critical)", last=4)
        desk.ready(first)
        desk.metrics(first, "stream_qa_fenced_total ", "stream_qa_interruptions_total")
        scores(desk.ground, 2000)
        desk.status(first, second, lag=True, only="workers|lag|worker http")
        desk.say("# a second group with the same STREAM_QA_TOPIC_PREFIX")
        with desk.worker("intruder", **SHORT_SESSION, STREAM_QA_APP_ID="other") as intruder:
            desk.log("intruder", "ready: partitions")
            processes = (first, second, intruder)

            def has_a_group_given_up() -> bool:
                flood(desk.ground, f"more-{time.monotonic_ns()}", 5)
                return intruder.has_ended or (first.has_ended and second.has_ended)

            wait_for("a group gives up", has_a_group_given_up)
            for each in processes:
                # One that is about to end answers no more.
                wait_for(f"{each.name} answers or ends", lambda: each.has_ended or each.page("/metrics")[0] == 200)  # noqa: B023
                if each.has_ended:
                    desk.say(f"(the worker {each.name} has ended with exit code {each.process.returncode})")
                    desk.log(each.name, "the worker stops")
                else:
                    desk.metrics(each, "stream_qa_fenced_total ")


def full_disk(broker: DevelopmentBroker, directory: Path) -> None:
    """Play a data directory on a file system that is full."""
    ground = new_ground(broker.bootstrap, directory)
    desk = Desk(ground)
    with _small_disk(directory / "disk") as grow:
        data = {"STREAM_QA_DATA_DIRECTORY": str(directory / "disk" / "data")}
        with desk.worker(**data, **SHORT_SESSION) as worker:
            desk.ready(worker)
            desk.metrics(worker, "stream_qa_table_disk_bytes")
            if grow is None:
                desk.say("# no file system may be mounted here: the size of the worker's files is limited instead")
                resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (_DISK_BYTES // 15, _DISK_BYTES // 15))
            flood(ground, "flood", _FLOOD)
            desk.ended(worker, 70)
            desk.log("worker", "the worker stops")
            desk.status(worker)
        with desk.worker("again", **data, **SHORT_SESSION) as worker:
            if grow is not None:
                wait_for("it ends", lambda: worker.has_ended)
                desk.say(f"(started again without room it ends with exit code {worker.process.returncode})")
                desk.log("again", "The worker does not start|the worker stops")
        if grow is not None:
            grow()
        with desk.worker("mended", **data, **SHORT_SESSION) as worker:
            desk.ready(worker)
            desk.log("mended", "ready: partitions")
            desk.say(f"({scores(ground, PARTITIONS * _FLOOD)} of {PARTITIONS * _FLOOD} applications are scored)")


def expired_certificate(_broker: DevelopmentBroker, directory: Path) -> None:
    """Play a worker's certificate that has expired, and then the broker's."""
    secure = SecureBroker(directory)
    secure.broker.up()
    try:
        access = {**secure.by_certificate(), "STREAM_QA_TOPIC_PREFIX": "tls-", "STREAM_QA_APP_ID": "tls-workers"}
        desk = Desk(Ground(settings_of(access), directory, access))
        done = desk.run("topics", "apply", "--yes", "--partitions", str(PARTITIONS))
        if done.returncode:
            raise NotSeenError(done.stderr)
        with desk.worker("expired", **secure.by_certificate(expired=True)) as worker:
            desk.say("# the worker's certificate has expired")
            desk.ended(worker, 1)
            desk.log("expired", "The worker does not start")
        with desk.worker() as worker:
            desk.say("# with a new one; then the broker's expires, and it is started again")
            desk.ready(worker)
            secure.broker.down()
            broker_pem = directory / "broker.pem"
            certificate(secure.authority, broker_pem, LOOPBACK, expired=True)
            secure.broker.up()
            wait_for("the reason", lambda: "expired" in worker.page("/readyz")[1])
            desk.page(worker, "/readyz", 503)
            desk.page(worker, "/livez", 200)
            desk.status(worker)
            desk.log("worker", r"\[(warning|error|critical)")
            secure.broker.down()
            certificate(secure.authority, broker_pem, LOOPBACK)
            secure.broker.up()
            desk.say("# the broker has a new certificate")
            desk.page(worker, "/readyz", 200)
    finally:
        secure.broker.down()


def redis_loss(broker: DevelopmentBroker, directory: Path) -> None:
    """Play a Redis that goes away under the scoring service, and comes back empty."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise NotSeenError("neither redis-server nor valkey-server is installed")
    desk = Desk(new_ground(broker.bootstrap, directory))
    server = RedisServer(program, directory, free_port())
    desk.names[server.url.removeprefix("redis://").removesuffix("/0")] = "127.0.0.1:6379"
    server.start()
    try:
        with desk.worker() as worker, desk.service(server.url) as service:
            desk.ready(worker)
            desk.ready(service)
            send(desk.ground, applied("one", member="member-1"))
            send_engagements(desk.ground, engaged("one"))
            wait_for("learned coefficients", lambda: _score(service)["member_log_odds"])
            _show(desk, service, "before")
            server.stop()
            wait_for("a degraded answer", lambda: not _answer(service)["personalised"])
            _show(desk, service, "Redis is away")
            desk.page(service, "/readyz", 200)
            desk.metrics(service, r"stream_qa_serve_degraded_total [1-9]", "stream_qa_store_ready")
            desk.log("service", r"\[(warning|error|critical)")
            server.start()
            desk.say("# Redis is back, and empty")
            wait_for("learned coefficients", lambda: _score(service)["member_log_odds"])
            _show(desk, service, "after")
            desk.log("service", r"\[(warning|error|critical)")
    finally:
        server.stop()


def _answer(service: Process) -> dict[str, Any]:
    body = {
        "feature_schema": "two-and-one",
        "member": {"member_id": "member-1", "features": [0.5, -1.0]},
        "jobs": [{"job_id": JOBS[0], "features": [2.0]}],
    }
    request = urllib.request.Request(  # our own service
        f"http://127.0.0.1:{service.port}/v1/scores/member",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 # our own service
        said: dict[str, Any] = json.loads(answer.read())
        return said


def _score(service: Process) -> dict[str, float]:
    scored: dict[str, float] = _answer(service)["scores"][0]
    return scored


def _show(desk: Desk, service: Process, when: str) -> None:
    answer = _answer(service)
    kept = {name: answer[name] for name in ("personalised", "stale_seconds", "notices")}
    desk.say(f"{when}: {json.dumps({**kept, 'probability': _score(service)['probability']})}")


@contextmanager
def _small_disk(place: Path) -> Iterator[Callable[[], object] | None]:
    """Mount a file system of a few MB; give what makes it larger, or ``None`` where that is not permitted."""
    place.mkdir()
    size = f"size={_DISK_BYTES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        yield None
        return
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=500m", str(place)], check=True)
    finally:
        subprocess.run(["umount", str(place)], check=True)
