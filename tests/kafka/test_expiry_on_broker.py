"""A member of whom nothing was heard for long is gone from the coefficients that servers follow, by a real worker."""

import asyncio

import pytest
from aiokafka import ConsumerRecord
from builders import DAY, START, application, engagement
from ground import Ground, job_in, new_ground
from refolding import publishing_differences, refold

from stream_qa.coefficients import Tombstone, read_delta
from stream_qa.events import Delta
from stream_qa.stages.pipeline import build_pipeline

pytestmark = pytest.mark.kafka

IDLE_DAYS = 42


@pytest.fixture
def ground(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Give a group that drops members and jobs after six weeks."""
    return new_ground(broker, tmp_path_factory.mktemp("idle"), idle_days=IDLE_DAYS)


def test_idle_members_are_dropped_and_come_again_as_new_ones(ground: Ground) -> None:
    topics = ground.settings.topics
    member = "member-that-comes-again"
    key = f"member:{member}".encode()

    async def all_origins(day: int, *members: str) -> None:
        """Let members apply to a job in each partition on a day, and be answered: so that all origins reach it."""
        for partition in range(4):
            applications: list[tuple[bytes | None, bytes | None]] = []
            engagements: list[tuple[bytes | None, bytes | None]] = []
            for number, member_id in enumerate([*members, *(f"member-{n}" for n in range(16))]):
                name, job_id = f"application-{day}-{partition}-{number}", job_in(partition)
                applied = application(name, member_id=member_id, job_id=job_id, applied_at=START + day * DAY)
                answer = engagement(application_id=name, job_id=job_id, engaged_at=START + day * DAY + 1)
                applications.append((job_id.encode(), applied.model_dump_json().encode()))
                engagements.append((job_id.encode(), answer.model_dump_json().encode()))
            await ground.produce(topics.applications, applications, partition)
            await ground.produce(topics.engagements, engagements, partition)

    def versions(records: list[ConsumerRecord]) -> list[int]:
        """Return the versions of the member that were published, and 0 for its end."""
        changes = [read_delta(record.key, record.value) for record in records if record.key == key]
        return [0 if isinstance(change, Tombstone) else change.version for change in changes]

    async def story() -> None:
        await all_origins(0, member)
        await ground.read(topics.coefficients, until=lambda found: versions(found)[-1:] == [4])
        for day in (1, 60, 61):
            await all_origins(day)
        await ground.read(topics.coefficients, until=lambda found: versions(found)[-1:] == [0])
        await all_origins(62, member)
        # Four labels in each of its lives.
        await ground.read(topics.coefficients, until=lambda found: 0 in versions(found) and versions(found)[-1] == 4)

    with ground.worker():
        asyncio.run(story())
    snapshots = asyncio.run(ground.read(topics.coefficient_snapshots))
    ended = [record for records in snapshots.values() for record in records if record.value is None]
    assert key in {record.key for record in ended}

    labels, coefficients = (asyncio.run(ground.read(topic)) for topic in (topics.labels, topics.coefficients))
    last: list[Delta] = []
    for record in (record for records in coefficients.values() for record in records):
        if record.key == key:
            last = [] if record.value is None else [*last, Delta.model_validate_json(record.value)]
    refolded = refold(build_pipeline(ground.settings).member, labels).versions
    second_life = {key: vector for key, vector in refolded.items() if key[0] == member}
    assert publishing_differences(last, second_life) == []
