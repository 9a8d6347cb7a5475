"""A real Prometheus reads a real worker: every query of the alert rules and the dashboard can be asked, and answers."""

import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from builders import application, engagement
from drifted_market import drifted_market
from ground import PARTITIONS, Ground
from monitoring import ALERTS, DEPLOY, Query, program, queries
from ports import free_port
from service_process import service

from stream_qa.streaming.partitioner import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

PICTURE = DEPLOY.parent / "tools" / "dashboard_picture.py"
#: What happens only when something goes wrong has no series before.
ONLY_IN_TROUBLE = {"Interruptions A", "Coefficients held back C"}


@contextmanager
def prometheus(directory: Path, worker_port: int, service: httpx.Client) -> Iterator[str]:
    """Run a Prometheus with our configuration, but reading worker and service every second; give its address."""
    configuration: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(DEPLOY / "prometheus" / "alerts.yaml")]
    for job, port in zip(configuration["scrape_configs"], [worker_port, service.base_url.port], strict=True):
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={directory / 'prometheus.yaml'}",
        f"--storage.tsdb.path={directory / 'series'}",
        f"--web.listen-address={address}",
    ]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield address
    finally:
        process.terminate()
        process.wait()


def ask(address: str, path: str, **parameters: str) -> Any:  # noqa: ANN401
    """Return Prometheus' answer; wait for one."""
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}{path}?{urllib.parse.urlencode(parameters)}") as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise AssertionError(error.read().decode()) from error
        except urllib.error.URLError:
            pass
        time.sleep(0.1)


def wait_for(address: str, asked: Iterable[Query]) -> None:
    """Wait until every query has an answer."""
    waiting, until = list(asked), time.monotonic() + 100
    while waiting:
        waiting = [query for query in waiting if not ask(address, "/api/v1/query", query=query.text)["result"]]
        assert time.monotonic() < until, [query.name for query in waiting]
        time.sleep(0.1)


async def produce(ground: Ground) -> None:
    """Send what makes every stage do something: applications that are answered, and a record that is none."""
    topics, partition = ground.settings.topics, partition_of(b"job-1", PARTITIONS)
    sent = [application(f"a-{number}", member_id=f"member-{number}") for number in range(20)]
    answers = [engagement(application_id=each.application_id) for each in sent]
    for topic, events in ((topics.applications, sent), (topics.engagements, answers)):
        records: list[tuple[bytes | None, bytes | None]] = [
            (b"job-1", event.model_dump_json().encode()) for event in events
        ]
        await ground.produce(topic, [*records, (b"job-1", b"no json")], partition)


@contextmanager
def watched(ground: Ground, directory: Path, **settings: str) -> Iterator[tuple[str, httpx.Client]]:
    """Run a worker, a scoring service and a Prometheus; give its address, and a client of the service."""
    port = free_port()
    with (
        ground.worker(STREAM_QA_WEB_PORT=str(port), **settings),
        service(ground, **settings) as client,
        prometheus(directory, port, client) as address,
    ):
        yield address, client


def test_healthy_programs_give_no_alert(ground: Ground, tmp_path: Path) -> None:
    asyncio.run(produce(ground))
    with watched(ground, tmp_path) as (address, _):
        wait_for(address, (query for query in queries() if query.name.startswith("Labels")))
        while True:
            rules = ask(address, "/api/v1/rules")["groups"][0]["rules"]
            # One record in twenty cannot be used: that alert waits to see whether it goes on.
            calls = {rule["name"] for rule in rules if rule["state"] != "inactive"} - {"StreamQADeadLetters"}
            # A look at the worker may have come too late once.
            if not calls and all(rule["health"] != "unknown" for rule in rules):
                break
            time.sleep(0.1)
        assert {rule["name"] for rule in rules if rule["health"] == "ok"} == {rule["alert"] for rule in ALERTS}
        assert {rule["name"] for rule in rules if rule["state"] == "firing"} == set()


def test_every_query_of_the_dashboard_is_answered(ground: Ground, tmp_path: Path) -> None:
    market = drifted_market(tmp_path, ground.settings.topics)
    with watched(ground, tmp_path, STREAM_QA_BUNDLE=str(market.bundle)) as (address, client):
        ground.replay(market.log, tmp_path / "emitted")
        asyncio.run(ground.produce(ground.settings.topics.applications, [(b"job-1", b"no json")], 0))
        client.get("/v1/coefficients", params={"side": "job", "entity_id": "job-0001"}).raise_for_status()
        alerts = {rule["alert"] for rule in ALERTS}
        wait_for(address, (query for query in queries() if query.name not in alerts | ONLY_IN_TROUBLE))
        picture = tmp_path / "dashboard.png"
        subprocess.run([sys.executable, str(PICTURE), f"http://{address}", str(picture), "--minutes", "5"], check=True)
        assert picture.read_bytes().startswith(b"\x89PNG")
