"""``stream-qa dead-letters`` on a real broker: what is listed, and that each letter is sent again once."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced
from builders import application as applied
from ground import PARTITIONS, Ground
from typer.testing import CliRunner, Result

from stream_qa.cli import application
from stream_qa.errors import (
    InvalidEventError,
    MessageTooLargeError,
    NotJSONError,
    RejectedError,
    UnknownLetterError,
    WrongPartitionError,
)
from stream_qa.events import Message, Record, dead_letter
from stream_qa.events.dead_letter import REDRIVEN, Selection
from stream_qa.streaming import dead_letter_topic
from stream_qa.streaming.partitioner import partition_of

pytestmark = pytest.mark.kafka


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application, ["dead-letters", *arguments], env={"COLUMNS": "200"})


def printed(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def letter(topic: str, number: int, error: RejectedError, stage: str = "label") -> Message:
    source = Record(topic, 3, number, b"job-%d" % number, b"\xffbytes %d" % number, [("trace", b"abc")])
    return dead_letter("dead-letters", stage, source, error)


async def keep(ground: Ground, messages: Sequence[Message]) -> None:
    """Write dead letters, as the workers would, and a record that is none."""
    producer = AIOKafkaProducer(**ground.settings.kafka.options())
    await producer.start()
    try:
        for message in [*messages, Message("", None, b"no letter")]:
            await producer.send_and_wait(
                ground.settings.topics.dead_letters, message.value, message.key, headers=list(message.headers)
            )
    finally:
        await producer.stop()


@asynccontextmanager
async def transaction(ground: Ground, transactional_id: str, messages: Sequence[Message]) -> AsyncIterator[None]:
    """Give a while in which a transaction is open, that is then aborted."""
    producer = AIOKafkaProducer(**ground.settings.kafka.options(), transactional_id=transactional_id)
    await producer.start()
    try:
        await producer.begin_transaction()
        for message in messages:
            await producer.send_and_wait(message.topic, message.value, message.key, headers=list(message.headers))
        yield
        await producer.abort_transaction()
    finally:
        await producer.stop()


def sent(ground: Ground, topic: str) -> dict[int, list[tuple[bytes, bytes]]]:
    """Return keys and values of the records of a topic, by partition."""
    found = asyncio.run(ground.read(topic))
    return {number: [(record.key, record.value) for record in records] for number, records in found.items() if records}


def test_letters_are_listed_shown_and_sent_again_once(on_ground: Ground) -> None:
    topics = on_ground.settings.topics
    letters = [
        letter(topics.applications, 0, NotJSONError("no JSON")),
        letter(topics.engagements, 1, InvalidEventError("kind: Field required")),
        letter(topics.applications, 2, WrongPartitionError("not here")),
        letter(topics.labels, 3, InvalidEventError("weight: Field required"), stage="member"),
        letter("log.jsonl", 4, NotJSONError("the line is not JSON"), stage="replay"),
        dead_letter(
            topics.dead_letters,
            "label",
            Record(topics.applications, 3, 5, b"job-5", bytes(11_000_000)),
            MessageTooLargeError("11000000 bytes"),
        ),
    ]
    asyncio.run(keep(on_ground, letters))

    listed = json.loads(printed("list", "--json"))
    assert [(each["letter"], each["reason"], each["redriven"]) for each in listed] == [
        ("0:0", "NotJSONError", False),
        ("0:1", "InvalidEventError", False),
        ("0:2", "WrongPartitionError", False),
        ("0:3", "InvalidEventError", False),
        ("0:4", "NotJSONError", False),
        ("0:5", "MessageTooLargeError", False),
    ]
    last = json.loads(
        printed("list", "--limit", "1", "--topic", topics.applications, "--until", "2099-01-01", "--json")
    )
    assert [each["letter"] for each in last] == ["0:5"]
    assert "InvalidEventError: weight: Field required" in printed("list", "--stage", "member")
    shown = json.loads(printed("show", "0:1", "--json"))
    assert (shown["key"], shown["value"], shown["source_topic"]) == ("job-1", "\\xffbytes 1", topics.engagements)
    assert shown["headers"][0] == ["trace", "abc"]
    assert CliRunner().invoke(application, ["dead-letters", "show", "0:1", "--raw"]).stdout_bytes == b"\xffbytes 1"
    assert isinstance(run("show", "0:6").exception, UnknownLetterError)
    assert isinstance(run("show", "7:0").exception, UnknownLetterError)

    planned = printed("redrive", "--all", "--dry-run")
    assert "4 would be sent again, 1 come from no topic that workers read, 1 are without their record" in planned
    assert printed("redrive", "0:5").startswith("0 sent again, 1 are without their record, which is too large")
    assert sent(on_ground, topics.applications) == {}

    assert run("redrive").exit_code == 1
    assert "1 sent again, 1 left beyond the limit" in printed("redrive", "--topic", topics.applications, "--limit", "1")
    assert printed("redrive", "0:0") == "0 sent again, 1 were sent again before\n"
    done = json.loads(printed("redrive", "--all", "--json"))
    assert [each["letter"] for each in done["sent"]] == ["0:1", "0:2", "0:3"]
    assert json.loads(printed("redrive", "--all", "--json"))["sent"] == []

    expected = [(b"job-%d" % number, b"\xffbytes %d" % number) for number in range(4)]
    for topic, numbers in ((topics.applications, (0, 2)), (topics.engagements, (1,)), (topics.labels, (3,))):
        found = sent(on_ground, topic)
        assert sorted(each for records in found.values() for each in records) == [
            expected[number] for number in numbers
        ]
        for partition, records in found.items():
            assert {partition_of(key, PARTITIONS) for key, _ in records} == {partition}
    assert [each["redriven"] for each in json.loads(printed("list", "--json"))] == [True] * 4 + [False] * 2
    assert [each["letter"] for each in json.loads(printed("list", "--waiting", "--json"))] == ["0:4", "0:5"]


def test_ended_at_any_moment_and_begun_again_it_sends_each_letter_once(
    on_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two transactions, and inside one: what it has written there is not seen, and never will be."""
    settings, topics = on_ground.settings, on_ground.settings.topics
    asyncio.run(keep(on_ground, [letter(topics.applications, number, NotJSONError("no JSON")) for number in range(4)]))
    monkeypatch.setattr(dead_letter_topic, "_LETTERS", 1)

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(dead_letter_topic.redrive(settings, Selection(), None, dry_run=False, told=killed))
    assert sum(map(len, sent(on_ground, topics.applications).values())) == 1

    async def inside() -> None:
        half = [
            Message(topics.applications, b"job-1", b"\xffbytes 1"),
            Message(topics.dead_letters, b"job-1", None, [(REDRIVEN, b"1")]),
        ]
        async with transaction(on_ground, f"{topics.dead_letters}-redrive", half):
            told: list[object] = []
            done = await dead_letter_topic.redrive(settings, Selection(), None, dry_run=False, told=told.append)
            assert [each.offset for each in done.sent] == [1, 2, 3]
            assert len(told) == 3

    with pytest.raises(ProducerFenced):
        asyncio.run(inside())
    found = [value for records in sent(on_ground, topics.applications).values() for _, value in records]
    assert sorted(found) == [b"\xffbytes %d" % number for number in range(4)]


def test_a_note_behind_an_open_transaction_of_a_worker_is_waited_for(on_ground: Ground) -> None:
    """A reader of committed records does not see it before that transaction ends."""
    settings, topics = on_ground.settings, on_ground.settings.topics
    asyncio.run(keep(on_ground, [letter(topics.applications, 0, NotJSONError("no JSON"))]))

    async def beside_a_worker() -> None:
        async with transaction(on_ground, "worker", [Message(topics.dead_letters, b"key", b"open")]):
            await keep(on_ground, [Message("", b"job-0", None, [(REDRIVEN, b"0")])])
            redriving = asyncio.create_task(
                dead_letter_topic.redrive(settings, Selection(), None, dry_run=False, told=lambda _: None)
            )
            # Long enough for one that does not wait to send the letter; one that waits is never early.
            await asyncio.wait([redriving], timeout=2)
        done = await redriving
        assert (done.sent, done.redriven_before) == ([], 1)

    asyncio.run(beside_a_worker())
    assert sent(on_ground, topics.applications) == {}


def test_a_record_in_the_wrong_partition_is_mended_by_sending_it_again(on_ground: Ground) -> None:
    """A real worker puts it aside, takes it when it comes again, and does not know it from any other."""
    topics = on_ground.settings.topics
    sent = applied("misplaced", job_id="job-1")
    wrong = (partition_of(b"job-1", PARTITIONS) + 1) % PARTITIONS
    asyncio.run(on_ground.produce(topics.applications, [(b"job-1", sent.model_dump_json().encode())], wrong))
    with on_ground.worker():
        asyncio.run(on_ground.read(topics.dead_letters, until=bool))
        done = json.loads(printed("redrive", "--reason", "WrongPartitionError", "--json"))
        assert [each["source_partition"] for each in done["sent"]] == [wrong]
        labels = asyncio.run(on_ground.read(topics.labels, until=bool))
    (label,) = (json.loads(record.value) for records in labels.values() for record in records)
    assert (label["application_id"], label["reason"]) == ("misplaced", "opened")
    assert len(asyncio.run(on_ground.read(topics.dead_letters))[0]) == 2  # the letter, and the note
