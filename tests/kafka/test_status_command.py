"""``stream-qa status`` over a real broker and beside a real worker: what is well, what is not, and the exit codes."""

import asyncio
import json
import time
from typing import Any

import orjson
import pytest
from builders import DAY, START, application, engagement, label
from ground import Ground, job_in
from ports import free_port
from typer.testing import CliRunner, Result

from stream_qa.cli import application as command_line
from stream_qa.cli.status import UNWELL
from stream_qa.events import PublishedModel
from stream_qa.streaming import model_topic

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

JOB = job_in(1)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, ["status", *arguments], env={"COLUMNS": "200"})


def found(*arguments: str, exit_code: int) -> dict[str, dict[str, Any]]:
    """Return what it found, by what it is about."""
    done = run("--json", *arguments)
    assert done.exit_code == exit_code, done.output
    document = json.loads(done.stdout)
    assert document["well"] == (exit_code == 0)
    return {each["what"]: each for each in document["findings"]}


def send(ground: Ground, value: bytes) -> None:
    asyncio.run(ground.produce(ground.settings.topics.applications, [(JOB.encode(), value)], 1))


def test_it_says_what_is_well_and_what_is_not(on_ground: Ground) -> None:
    topics = on_ground.settings.topics
    model = PublishedModel(version="m-7", feature_schema="two-and-one", location="/nowhere", sha256="0" * 64)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with on_ground.worker(STREAM_QA_WEB_PORT=str(port)):
        send(on_ground, application(job_id=JOB).model_dump_json(exclude_none=True).encode())
        answer = engagement(job_id=JOB).model_dump_json().encode()
        asyncio.run(on_ground.produce(topics.engagements, [(JOB.encode(), answer)], 1))
        later = application("application-2", job_id=JOB, applied_at=START + 2 * DAY)
        send(on_ground, later.model_dump_json(exclude_none=True).encode())
        asyncio.run(on_ground.read(topics.scores, until=lambda records: len(records) == 2))
        while (first := json.loads(run("--json", "--most-lag", "0", "--worker", address).stdout))["well"] is False:
            # The group's offsets are shown once a second.
            assert {each["what"] for each in first["findings"] if not each["well"]} == {"lag"}
        well = found("--worker", address, exit_code=0)
        assert list(well) == [
            "broker", "topics", "workers", "lag", "event time", "dead letters", "model", f"worker {address}",
        ]  # fmt: skip
        assert well["topics"]["topics"] == len(topics.all())
        assert well["workers"]["members"] == 1
        assert well["lag"]["by_stage"] == {"label": 0, "member": 0, "job": 0}
        assert START <= well["event time"]["watermark"] <= START + 2 * DAY
        assert well["event time"]["says"].endswith("of the slowest partition; labels of 1 of 4 are among the newest")
        assert well["dead letters"]["letters"] == 0
        assert "none is published" in well["model"]["says"]
        assert well[f"worker {address}"]["says"] == "alive and ready"

        send(on_ground, b"no json")
        asyncio.run(on_ground.read(topics.dead_letters, until=lambda records: len(records) == 1))
        asyncio.run(model_topic.publish(on_ground.settings.kafka, topics.models, model))
        with_letter = found(exit_code=UNWELL)
        assert with_letter["dead letters"]["by_reason"] == {"NotJSONError": 1}
        assert [each["what"] for each in with_letter.values() if not each["well"]] == ["dead letters"]
        assert (with_letter["model"]["version"], with_letter["model"]["number"]) == ("m-7", 1)
        assert found("--most-letters", "1", exit_code=0)

    send(on_ground, orjson.dumps({}))
    without = found("--most-letters", "1", "--most-lag", "0", "--worker", address, exit_code=UNWELL)
    assert [each["what"] for each in without.values() if not each["well"]] == ["workers", "lag", f"worker {address}"]
    assert without["lag"]["records"] == 1
    assert "does not answer" in without[f"worker {address}"]["says"]
    screen = run().stdout
    assert "!!  workers" in screen
    assert f"ok  topics        {len(topics.all())} as declared" in screen


def test_events_of_a_clock_that_is_ahead_are_not_well(on_ground: Ground) -> None:
    """Also where only one input has them: no watermark moves, and nothing else would tell."""
    topics = on_ground.settings.topics
    ahead = round(time.time() * 1000) + 365 * DAY
    with on_ground.worker():
        send(on_ground, application(job_id=JOB, applied_at=ahead).model_dump_json(exclude_none=True).encode())
        asyncio.run(on_ground.read(topics.scores, until=bool))
        applications = found("--most-lag", "1000", exit_code=UNWELL)["event time"]
        assert not applications["well"]
        assert applications["says"].startswith("it has not begun; events of partition 1 are 36")
        answer = engagement(job_id=JOB, engaged_at=ahead + DAY).model_dump_json().encode()
        asyncio.run(on_ground.produce(topics.engagements, [(JOB.encode(), answer)], 1))
        later = application("application-2", job_id=JOB, applied_at=ahead + 2 * DAY)
        send(on_ground, later.model_dump_json(exclude_none=True).encode())
        asyncio.run(on_ground.read(topics.scores, until=lambda records: len(records) == 2))
    both = found("--most-lag", "1000", exit_code=UNWELL)["event time"]
    assert "ahead of the clock, of the slowest partition; labels of 1 of 4 are among" in both["says"]
    assert "; events of partition 1 are" in both["says"]
    assert both["ahead_seconds"] > 364 * DAY / 1000 > -both["behind_seconds"] - 2 * DAY / 1000


def test_answers_of_a_clock_that_is_ahead_are_not_well_either(on_ground: Ground) -> None:
    ahead = round(time.time() * 1000) + 365 * DAY
    labels = [label(origin=origin) for origin in range(4)]
    labels += [label(origin=2, value=1, reason="explicit:message", happened_at=ahead)]
    values = [each.model_dump_json().encode() for each in labels]
    asyncio.run(on_ground.produce(on_ground.settings.topics.labels, [(b"member-1", value) for value in values], 1))
    event_time = found(exit_code=UNWELL)["event time"]
    assert not event_time["well"]
    assert "of the slowest partition; events of partition 2 are 36" in event_time["says"]


def test_records_of_another_writer_that_are_no_labels_are_counted_and_hide_nothing(on_ground: Ground) -> None:
    values = [b"no json", b"[]", b"{}", label(watermark=START).model_dump_json().encode()]
    asyncio.run(on_ground.produce(on_ground.settings.topics.labels, [(b"member-1", value) for value in values], 1))
    event_time = found(exit_code=UNWELL)["event time"]
    assert (event_time["watermark"], event_time["not_labels"]) == (START, 3)
    assert "3 of its last records are no labels" in event_time["says"]


def test_where_no_broker_answers_it_says_so_and_asks_the_workers_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAM_QA_BROKER", f"127.0.0.1:{free_port()}")
    address = f"http://127.0.0.1:{free_port()}"
    nobody = found("--worker", address, exit_code=UNWELL)
    assert list(nobody) == ["broker", f"worker {address}"]
    assert "no Kafka broker answers" in nobody["broker"]["says"]


def test_a_topic_that_is_not_there_is_not_well_and_hides_nothing_else(
    on_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_QA_TOPIC_PREFIX", f"{on_ground.settings.topic_prefix}nowhere-")
    nothing = found(exit_code=UNWELL)
    assert nothing["broker"]["well"]
    assert "applications" in nothing["topics"]["says"]
    assert not nothing["dead letters"]["well"]
