"""The pipeline written by hand on aiokafka: an event at a time, state in dictionaries, and no guarantees at all.

Choices: one consumer group for all four topics, offsets committed automatically every 5 s, state lost with the process;
JSON by orjson; records are sent without waiting for their acknowledgement. uvloop, as every project of this kind has.
"""

import asyncio
import os
import signal
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from peers import per_event

PREFIX = os.environ["PEERS_PREFIX"]
BROKER = os.environ["PEERS_BROKER"]


class Pipeline:
    """All stages and what they know."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._applications: dict[str, per_event.State] = {}
        self._members: dict[str, per_event.State] = {}
        self._jobs: dict[str, per_event.State] = {}
        self._stages = {
            f"{PREFIX}applications": self._apply,
            f"{PREFIX}engagements": self._engage,
            f"{PREFIX}labels": self._learn_member,
            f"{PREFIX}examples": self._learn_job,
        }

    @property
    def topics(self) -> list[str]:
        """What it reads."""
        return list(self._stages)

    async def take(self, record: ConsumerRecord) -> None:
        """Take in one record."""
        await self._stages[record.topic](orjson.loads(record.value))

    async def _apply(self, application: per_event.Message) -> None:
        await self._label(per_event.take_application, application)

    async def _engage(self, engagement: per_event.Message) -> None:
        await self._label(per_event.take_engagement, engagement)

    async def _label(self, take: Any, event: per_event.Message) -> None:  # noqa: ANN401
        application_id = event["application_id"]
        known, labels = take(self._applications.get(application_id), event, self._jobs.get(event["job_id"]))
        self._applications[application_id] = known
        for label in labels:
            await self._send("labels", label["member_id"], label)

    async def _learn_member(self, label: per_event.Message) -> None:
        member_id = label["member_id"]
        member = self._members.get(member_id)
        if label["value"] is None:
            await self._send("scores", label["job_id"], per_event.score(label, member))
            return
        self._members[member_id], example, delta = per_event.take_label(label, member)
        await self._send("examples", label["job_id"], example)
        await self._send("coefficients", f"member:{member_id}", delta)

    async def _learn_job(self, example: per_event.Message) -> None:
        job_id = example["job_id"]
        self._jobs[job_id], delta = per_event.take_example(example, self._jobs.get(job_id))
        await self._send("coefficients", f"job:{job_id}", delta)

    async def _send(self, topic: str, key: str, value: per_event.Message) -> None:
        await self._producer.send(f"{PREFIX}{topic}", orjson.dumps(value), key.encode())


async def main() -> None:
    """Run until terminated."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AIOKafkaProducer(bootstrap_servers=BROKER, linger_ms=5) as producer:
        pipeline = Pipeline(producer)
        async with AIOKafkaConsumer(
            *pipeline.topics, bootstrap_servers=BROKER, group_id=f"{PREFIX}group", auto_offset_reset="earliest"
        ) as consumer:
            while not stop.is_set():
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        await pipeline.take(record)


if __name__ == "__main__":
    uvloop.run(main())
