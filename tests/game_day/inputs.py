"""Incidents that come with the input, the model or the topics."""

import asyncio
import json
import sys
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from ground import PARTITIONS, Ground, new_ground

from game_day.desk import SHORT_SESSION, Desk, NotSeenError, wait_for
from game_day.traffic import YEAR, applied, engaged, now, scores, send, send_engagements
from stream_qa.broker import DevelopmentBroker
from stream_qa.durations import HOUR

#: Where the application is whose member stage fails on one member.
_KAFKA_TESTS = Path(__file__).parents[1] / "kafka"
_FAULTY = (
    *(sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); from faust.cli.faust import cli; cli()"),
    *(str(_KAFKA_TESTS), "-A", "faulty_app", "worker", "-l", "info"),
)
_POISON = "poisonous-member"


def poisonous_record(broker: DevelopmentBroker, directory: Path) -> None:
    """Play a record on which a stage's code fails."""
    desk = Desk(new_ground(broker.bootstrap, directory))
    good = [applied(f"good-{number}") for number in range(20)]
    with desk.worker("before", *_FAULTY, **SHORT_SESSION) as worker:
        desk.ready(worker)
        send(desk.ground, *good, applied("bad", member=_POISON))
        desk.ended(worker, 70)
        desk.log("before", "the worker stops")
        desk.status(worker)
    with desk.worker("after", *_FAULTY, STREAM_QA_ON_BUG="dead-letter", **SHORT_SESSION) as worker:
        desk.say("$ STREAM_QA_ON_BUG=dead-letter faust -A stream_qa.app worker -l info")
        desk.ready(worker)
        send(desk.ground, applied("later"))
        desk.say(f"({scores(desk.ground, 21)} of 22 applications are scored)")
        desk.metrics(worker, r"stream_qa_dead_letters_total\{.*PoisonousRecordError.*\} 1")
        desk.status(worker, dead_letters=False)
        desk.command("dead-letters", "list", "--reason", "PoisonousRecordError")
    with desk.worker("mended", **SHORT_SESSION) as worker:
        desk.ready(worker)
        desk.command("dead-letters", "redrive", "--reason", "PoisonousRecordError", code=0)
        desk.say(f"({scores(desk.ground, 22)} of 22 applications are scored)")


def wrong_bundle(broker: DevelopmentBroker, directory: Path) -> None:
    """Play a bundle of other scales, published to a group that began without one, and one given at the start."""
    desk = Desk(new_ground(broker.bootstrap, directory))
    log = str(directory / "log.jsonl.gz")
    desk.names[f"{directory}/"] = ""
    _quietly(desk, "simulate", log, "--applications", "2000", "--days", "60")
    for name, more in (("wrong", []), ("right", ["--plain-features"])):
        _quietly(desk, "train", log, "--until", "2026-02-20", "--out", str(directory / name), *more)
    with desk.worker() as worker:
        desk.ready(worker)
        desk.ground.replay(Path(log), directory / "emitted")
        desk.command("models", "publish", str(directory / "wrong"))
        desk.log("worker", "is refused")
        desk.status(worker, only="model|worker http")
        desk.page(worker, "/readyz", 200)
        desk.command("models", "list")
        desk.command("models", "publish", str(directory / "right"))
        desk.log("worker", "is taken up")
        desk.command("models", "list")
    with desk.worker("restarted", STREAM_QA_BUNDLE=str(directory / "wrong")) as worker:
        desk.say("$ STREAM_QA_BUNDLE=wrong faust -A stream_qa.app worker -l info")
        desk.ended(worker, 70)
        desk.log("restarted", "the worker stops")


def partition_mismatch(broker: DevelopmentBroker, directory: Path) -> None:
    """Play a producer with another partitioner, and an input topic that is given more partitions than the others."""
    desk = Desk(new_ground(broker.bootstrap, directory))
    topics = desk.ground.settings.topics
    with desk.worker(**SHORT_SESSION) as worker:
        desk.ready(worker)
        send(desk.ground, applied("in-its-place"))
        for number in range(3):
            send(desk.ground, applied(f"misplaced-{number}"), partition=1)
        desk.metrics(worker, r"stream_qa_dead_letters_total\{.*WrongPartitionError.*\} 3")
        desk.status(worker, dead_letters=False)
        desk.command("dead-letters", "list", "--waiting", "--limit", "1")
        desk.command("dead-letters", "redrive", "--reason", "WrongPartitionError", "--dry-run")
        desk.command("dead-letters", "redrive", "--reason", "WrongPartitionError", code=0)
        desk.say(f"({scores(desk.ground, 4)} of 4 applications are scored)")
        asyncio.run(_grow(desk.ground, topics.applications))
        desk.say("$ kafka-topics.sh --alter --topic applications --partitions 6")
        desk.status(worker, topics=False)
        desk.command("topics", "plan", only="refused|partitions")
    with desk.worker("restarted", **SHORT_SESSION) as worker:
        wait_for("the worker ends", lambda: worker.has_ended)
        desk.say(f"(a worker that is started now ends with exit code {worker.process.returncode})")
        desk.log("restarted", "The worker does not start|the worker stops")


def future_clock(broker: DevelopmentBroker, directory: Path) -> None:
    """Play a producer of applications, then one of engagements too, whose clock is a year ahead, and what mends it."""
    desk = Desk(new_ground(broker.bootstrap, directory))
    ahead = now() + YEAR
    with desk.worker(STREAM_QA_QUIET_SECONDS="0") as worker:
        desk.ready(worker)
        send(desk.ground, applied("good-1", at=now() - HOUR))
        send_engagements(desk.ground, engaged("good-1"))
        scores(desk.ground, 1)
        desk.say("# one application of a year ahead")
        send(desk.ground, applied("ahead-1", at=ahead))
        desk.metrics(worker, r"stream_qa_dead_letters_total\{.*FutureEventError.*\} 1")
        desk.status(worker, only="^!!|event time", dead_letters=False)
        desk.command("dead-letters", "list", "--waiting")
        desk.say("# a second one, of another application: it is believed; engagements are still of today")
        send(desk.ground, applied("ahead-2", at=ahead))
        scores(desk.ground, 2)
        desk.status(worker, only="^!!|event time")
        desk.metrics(worker, r"stream_qa_watermark_seconds\{.*0")
        desk.say("# the engagements' clock as well")
        send_engagements(desk.ground, engaged("ahead-2", at=ahead + 1), engaged("ahead-2", at=ahead + 2))
        send_engagements(desk.ground, engaged("other", at=ahead + 3))
        send(desk.ground, applied("good-2"))
        desk.metrics(worker, r"stream_qa_dead_letters_total\{.*LateApplicationError.*\} 1")
        desk.status(worker, only="^!!|event time")
        desk.metrics(worker, r"stream_qa_watermark_seconds\{.*0")
    log, place = directory / "clean.jsonl", directory / "mended"
    desk.say(f"# the producer is stopped; {_keep(desk.ground, log)} events of its topics are not ahead of the clock")
    place.mkdir()
    mended = Desk(new_ground(broker.bootstrap, place), {f"{directory}/": ""})
    with mended.worker(STREAM_QA_QUIET_SECONDS="0") as worker:
        mended.say("$ STREAM_QA_TOPIC_PREFIX=mended- faust -A stream_qa.app worker -l info")
        mended.ready(worker)
        mended.command("replay", str(log), "--kafka", code=0)
        send(mended.ground, applied("good-3"))
        mended.say(f"({scores(mended.ground, 3)} of 3 applications that are not ahead are scored)")
        mended.status(worker, only="event time|dead letters", event_time=True, dead_letters=True)
        mended.metrics(worker, r"stream_qa_watermark_seconds\{.*0")


def _keep(ground: Ground, log: Path) -> int:
    """Write a log of what there is in the inputs and not ahead of the clock; return how many events these are."""
    topics, lines = ground.settings.topics, []
    for topic, kind, time in (
        (topics.applications, "application", "applied_at"),
        (topics.engagements, "engagement", "engaged_at"),
    ):
        for records in asyncio.run(ground.read(topic)).values():
            events = [json.loads(record.value) for record in records]
            lines += [json.dumps({**event, "type": kind}) for event in events if event[time] <= now()]
    log.write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


def _quietly(desk: Desk, *arguments: str) -> None:
    done = desk.run(*arguments)
    if done.returncode:
        raise NotSeenError(f"{arguments}: {done.stderr}")


async def _grow(ground: Ground, topic: str) -> None:
    admin = AIOKafkaAdminClient(**ground.settings.kafka.options())
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(PARTITIONS + 2)})
    finally:
        await admin.close()
