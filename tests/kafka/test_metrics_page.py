"""``GET /metrics`` of a real worker: the names of the operations page, and the values that the topics have."""

import asyncio
import re
import time
from collections import Counter, defaultdict
from pathlib import Path

import orjson
import pytest
from aiokafka import ConsumerRecord
from builders import START, application, engagement
from ground import PARTITIONS, Ground
from monitoring import has_caught_up, scraped
from ports import free_port
from prometheus_client import Metric

from stream_qa.events import Event
from stream_qa.streaming.partitioner import partition_of

pytestmark = pytest.mark.kafka

APPLICATIONS = 40
HOUR = 3_600_000
PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
#: Name and labels of each row of the page's table.
ROWS = {
    name: set(re.findall(r"`(\w+)`", labels))
    for name, labels in re.findall(r"^\| `(stream_qa_(?!serve_|store_)\w+)` \|([^|]*)\|", PAGE, re.MULTILINE)
}


def values(family: Metric, label: str) -> dict[str, float]:
    """Return the values of a metric that are not 0, by the value of one label."""
    return {sample.labels[label]: sample.value for sample in family.samples if sample.value}


def records_of(ground: Ground, topic: str) -> list[ConsumerRecord]:
    return [record for records in asyncio.run(ground.read(topic)).values() for record in records]


async def produce(ground: Ground) -> None:
    """Send applications, answers to half of them within the hour, and two records that are no events."""
    topics = ground.settings.topics
    sent: defaultdict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = defaultdict(list)
    for number in range(APPLICATIONS):
        job_id, applied_at = f"job-{number % 8}", START + number * HOUR
        applied = application(f"a-{number}", job_id=job_id, member_id=f"member-{number % 5}", applied_at=applied_at)
        events: list[tuple[str, Event]] = [(topics.applications, applied)]
        if number % 2:
            answer = engagement(application_id=f"a-{number}", job_id=job_id, engaged_at=applied_at + HOUR)
            events.append((topics.engagements, answer))
        for topic, event in events:
            place = topic, partition_of(job_id.encode(), PARTITIONS)
            sent[place].append((job_id.encode(), event.model_dump_json().encode()))
    sent[topics.applications, 0] += [(b"key", b"no json"), (b"key", b"{}")]
    for (topic, partition), records in sent.items():
        await ground.produce(topic, records, partition)


def test_its_metrics_are_those_of_the_page_and_say_what_the_topics_hold(ground: Ground) -> None:
    began = time.monotonic()
    asyncio.run(produce(ground))
    topics, prefix, port = ground.settings.topics, ground.settings.topic_prefix, free_port()

    with ground.worker(STREAM_QA_WEB_PORT=str(port)):
        while True:
            found = scraped(port)
            if values(found["stream_qa_events_total"], "stage").get("job") and has_caught_up(found):
                break
        names = {name for name in found if name.startswith("stream_qa_")}
        assert names == set(ROWS)
        for name in names:
            assert set().union(*(sample.labels for sample in found[name].samples)) - {"le"} <= ROWS[name]
        assert "process_resident_memory_bytes" in found

        held = {
            name: records_of(ground, getattr(topics, name))
            for name in ("labels", "examples", "scores", "coefficients", "dead_letters")
        }
        written = values(found["stream_qa_messages_total"], "topic")
        for name, records in held.items():
            assert written[getattr(topics, name).removeprefix(prefix)] == len(records), name
        assert values(found["stream_qa_dead_letters_total"], "reason") == {"NotJSONError": 1, "InvalidEventError": 1}
        reasons = Counter(orjson.loads(record.value)["reason"] for record in held["labels"])
        assert values(found["stream_qa_labels_total"], "reason") == reasons
        assert reasons["opened"] == APPLICATIONS
        ages = {sample.labels.get("le"): sample.value for sample in found["stream_qa_label_age_seconds"].samples}
        assert (ages["600.0"], ages["3600.0"], ages["+Inf"]) == (0, APPLICATIONS / 2, APPLICATIONS / 2)
        delays = found["stream_qa_delay_seconds"].samples
        assert {sample.labels["stage"] for sample in delays if sample.value} == {"label", "member", "job"}
        # None is longer than all of this took: they are in seconds, and of this run.
        most = (time.monotonic() - began) * max(sample.value for sample in delays if sample.name.endswith("_count"))
        assert all(sample.value < most for sample in delays if sample.name.endswith("_sum"))
        # It is a log of the past that is replayed.
        assert not any(sample.value for sample in found["stream_qa_event_to_delta_seconds"].samples)
        events = values(found["stream_qa_events_total"], "stage")
        assert events["label"] >= APPLICATIONS * 1.5 + 2
        assert (events["member"], events["job"]) == (len(held["labels"]), len(held["examples"]))
        watermarks = values(found["stream_qa_watermark_seconds"], "partition")
        assert max(watermarks.values()) * 1000 == START + (APPLICATIONS - 1) * HOUR
        assert values(found["stream_qa_lanes"], "state") == {"open": 3 * PARTITIONS}
        assert found["stream_qa_ready"].samples[0].value == 1
        assert found["stream_qa_fenced_total"].samples[0].value == 0
        assert values(found["stream_qa_table_records"], "stage")["member"] > 0


async def answer(ground: Ground, happened_at: int) -> None:
    """Send an application that was answered at a moment (ms)."""
    topics, place = ground.settings.topics, partition_of(b"job-1", PARTITIONS)
    applied = application("a-1", job_id="job-1", applied_at=happened_at - HOUR)
    answered = engagement(application_id="a-1", job_id="job-1", engaged_at=happened_at)
    for topic, event in ((topics.applications, applied), (topics.engagements, answered)):
        await ground.produce(topic, [(b"job-1", event.model_dump_json().encode())], place)


def test_a_delta_is_as_old_as_the_answer_that_it_was_learned_from(ground: Ground) -> None:
    waited, port = 60, free_port()
    began = time.time() - waited
    asyncio.run(answer(ground, round(began * 1000)))

    with ground.worker(STREAM_QA_WEB_PORT=str(port)):
        while True:
            samples = scraped(port)["stream_qa_event_to_delta_seconds"].samples
            sums = {each.labels["stage"]: each.value for each in samples if each.name.endswith("_sum")}
            if len(sums) == 2:
                break
    # One transaction has both.
    assert waited < sums["member"] == sums["job"] < time.time() - began
    assert [each.value for each in samples if each.labels.get("le") == "60.0"] == [0, 0]
    assert [each.value for each in samples if each.labels.get("le") == "+Inf"] == [1, 1]
