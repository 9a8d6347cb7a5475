"""What comes in on a game day: applications and engagements of now, in the partitions of their jobs."""

import asyncio
import time

from builders import application, engagement
from ground import PARTITIONS, Ground, job_in

from stream_qa.durations import DAY

YEAR = 365 * DAY
JOBS = [job_in(partition) for partition in range(PARTITIONS)]


def now() -> int:
    """Return the time of the clock, in ms since the epoch."""
    return round(time.time() * 1000)


def applied(
    name: str, partition: int = 0, *, member: str | None = None, at: int | None = None
) -> tuple[bytes | None, bytes | None]:
    """Return the key and the value of an application."""
    job = JOBS[partition]
    moment = now() if at is None else at
    event = application(name, member_id=member or f"member-of-{name}", job_id=job, applied_at=moment)
    return job.encode(), event.model_dump_json(exclude_none=True).encode()


def engaged(name: str, partition: int = 0, *, at: int | None = None) -> tuple[bytes | None, bytes | None]:
    """Return the key and the value of an engagement."""
    job = JOBS[partition]
    event = engagement(application_id=name, job_id=job, engaged_at=now() if at is None else at)
    return job.encode(), event.model_dump_json(exclude_none=True).encode()


def send(ground: Ground, *records: tuple[bytes | None, bytes | None], partition: int = 0) -> None:
    """Send applications to a partition."""
    asyncio.run(ground.produce(ground.settings.topics.applications, list(records), partition))


def send_engagements(ground: Ground, *records: tuple[bytes | None, bytes | None], partition: int = 0) -> None:
    """Send engagements to a partition."""
    asyncio.run(ground.produce(ground.settings.topics.engagements, list(records), partition))


def flood(ground: Ground, name: str, count: int) -> None:
    """Send so many applications to every partition."""
    for partition in range(PARTITIONS):
        records = [applied(f"{name}-{partition}-{number}", partition) for number in range(count)]
        send(ground, *records, partition=partition)


def scores(ground: Ground, count: int) -> int:
    """Return how many scores there are, once there are ``count``."""
    found = asyncio.run(ground.read(ground.settings.topics.scores, until=lambda records: len(records) >= count))
    return sum(len(records) for records in found.values())
