"""From an engagement to the deltas it brings, while events come evenly: as a reader of committed records sees it.

Among the events are probes: an application of a member and to a job that nobody else has, and two seconds later the
engagement with it. An engagement is on its way from when it is handed to the producer; it has arrived when the member's
delta, and then the job's, has been read.
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from peers.log import FEATURES, KINDS, Event, application, engagement, make_log
from peers.running import running
from peers.sides import Place, Side
from peers.topics import begin, committed_reader, delete_topics, make_topics
from stream_qa.streaming.partitioner import partition_of

#: The broker is new, and in its first minute its Java runtime compiles for more than half of a core's time.
WARM_UP_SECONDS = 60.0
SECONDS = 15.0
#: From one probe to the next.
PROBE_SECONDS = 0.01
#: From a probe's application to its engagement, in probes.
LEAD = 200
TICK_SECONDS = 0.004
#: After the last engagement.
PATIENCE_SECONDS = 20.0
_MEMBER, _JOB = b"member:probe-", b"job:probe-"


@dataclass(frozen=True)
class Latency:
    """What probes have seen, in milliseconds: median, 99th percentile and longest of those that arrived."""

    probes: int
    arrived: int
    """Those of which both deltas came within 20 s of the last engagement."""
    member: list[float]
    job: list[float]
    cpu_share: float
    """CPU seconds of the side a second, warmed up."""


class Probes:
    """When engagements were sent and their deltas seen, by number of the probe; seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.sent: dict[int, float] = {}
        self.seen: dict[bytes, dict[int, float]] = {_MEMBER: {}, _JOB: {}}

    def see(self, key: bytes, now: float) -> None:
        """Take in the key of a delta."""
        for prefix, seen in self.seen.items():
            if key.startswith(prefix):
                seen[int(key[len(prefix) :])] = now

    @property
    def arrived(self) -> bool:
        """Whether all deltas have."""
        return all(seen.keys() >= self.sent.keys() for seen in self.seen.values())

    def after(self, moment: float) -> set[int]:
        """Return those whose engagements were sent after a moment."""
        return {number for number, sent in self.sent.items() if sent >= moment}

    def figures(self, of: bytes, numbers: set[int]) -> list[float]:
        """Return median, 99th percentile and maximum for some of them."""
        passed = [1000 * (seen - self.sent[number]) for number, seen in self.seen[of].items() if number in numbers]
        return [round(float(np.quantile(passed, share)), 2) for share in (0.5, 0.99, 1.0)] if passed else []


async def measure_latency(side: Side, place: Place, rate: int) -> Latency:
    """Send ``rate`` events per second through a side, and probes.

    Raises
    ------
    SideFailedError
        It ended.
    """
    begins_at = round(time.time() * 1000)
    log = make_log(round(rate * (WARM_UP_SECONDS + SECONDS)), "zipf", 0, first_time=begins_at, gap=1000 / rate)
    probes = Probes()
    await make_topics(side, place)
    reader = committed_reader(place)
    async with running(side, place) as run, AIOKafkaProducer(bootstrap_servers=place.broker) as producer, reader:
        begin(reader, place, "coefficients")
        gc.collect()
        gc.freeze()
        reading = asyncio.create_task(_read(reader, probes))
        try:
            feeding = asyncio.create_task(_feed(producer, place, log, rate, probes))
            await asyncio.sleep(WARM_UP_SECONDS)
            warm, before = time.monotonic(), run.used()
            await feeding
            after = run.used()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not probes.arrived and time.monotonic() < deadline:
                run.check()
                if reading.done():
                    await reading
                await asyncio.sleep(TICK_SECONDS)
        finally:
            reading.cancel()
            gc.unfreeze()
    await delete_topics(place)
    numbers = probes.after(warm)
    arrived = numbers & probes.seen[_MEMBER].keys() & probes.seen[_JOB].keys()
    share = (after.cpu - before.cpu) / (after.at - before.at)
    of_member, of_job = (probes.figures(of, numbers) for of in (_MEMBER, _JOB))
    return Latency(len(numbers), len(arrived), of_member, of_job, share)


async def _read(reader: AIOKafkaConsumer, probes: Probes) -> None:
    while True:
        for records in (await reader.getmany(timeout_ms=1_000)).values():
            now = time.monotonic()
            for record in records:
                probes.see(record.key, now)


async def _feed(producer: AIOKafkaProducer, place: Place, log: Sequence[Event], rate: int, probes: Probes) -> None:
    """Send the log evenly, with the probes that are due."""
    waiting = deque(log)
    begins_at = log[0].time
    numbers = count()
    began = time.monotonic()
    while waiting:
        passed = time.monotonic() - began
        events = [waiting.popleft() for _ in range(min(len(waiting), round(passed * rate) - (len(log) - len(waiting))))]
        engaged = []
        while (number := next(numbers)) * PROBE_SECONDS <= passed:
            events.append(_probe_application(number, begins_at + round(passed * 1000)))
            if number >= LEAD:
                engaged.append(number - LEAD)
                events.append(_probe_engagement(number - LEAD, begins_at + round(passed * 1000)))
        numbers = count(number)
        now = time.monotonic()
        probes.sent.update(dict.fromkeys(engaged, now))
        await _send(producer, place, events)
        await asyncio.sleep(max(0.0, began + passed + TICK_SECONDS - time.monotonic()))


async def _send(producer: AIOKafkaProducer, place: Place, events: Sequence[Event]) -> None:
    """Hand events to the producer, a batch a partition: that costs it least."""
    by_partition: dict[tuple[str, int], list[Event]] = {}
    for event in events:
        by_partition.setdefault((event.topic, partition_of(event.key, place.partitions)), []).append(event)
    for (topic, partition), some in by_partition.items():
        batch = producer.create_batch()
        for event in some:
            if batch.append(key=event.key, value=event.value, timestamp=event.time) is None:
                await producer.send_batch(batch, f"{place.prefix}{topic}", partition=partition)
                batch = producer.create_batch()
                batch.append(key=event.key, value=event.value, timestamp=event.time)
        await producer.send_batch(batch, f"{place.prefix}{topic}", partition=partition)


def _probe_application(number: int, moment: int) -> Event:
    features = [0.5] * FEATURES
    return application(f"probe-{number}", f"probe-{number}", f"probe-{number}", moment, features, features, -1.0)


def _probe_engagement(number: int, moment: int) -> Event:
    return engagement(f"probe-{number}", f"probe-{number}", KINDS[0], moment)
