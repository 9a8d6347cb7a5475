"""Two contexts side by side: two worker groups, each with its policy and its topics."""

import asyncio
from pathlib import Path

import orjson
import pytest
from aiokafka import ConsumerRecord
from builders import DAY
from ground import Ground, job_in, new_ground
from test_worker import application

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def labels_after_a_profile_view(ground: Ground) -> list[str]:
    """Let an application be viewed and another one be answered by an offer; return the reasons of all labels."""
    topics = ground.settings.topics
    first, second = application("viewed", job_in(1)), application("offered", job_in(1))
    await ground.produce(topics.applications, [(b"key", orjson.dumps(each)) for each in (first, second)], 1)
    engaged_at = DAY + 1_000
    engagements = [
        {"application_id": name, "job_id": job_in(1), "kind": kind, "engaged_at": engaged_at}
        for name, kind in (("viewed", "profile_view"), ("offered", "offer"))
    ]
    await ground.produce(topics.engagements, [(b"key", orjson.dumps(each)) for each in engagements], 1)

    def is_done(records: list[ConsumerRecord]) -> bool:
        return any(b"explicit:offer" in record.value for record in records)

    found = await ground.read(topics.labels, until=is_done)
    return sorted(orjson.loads(record.value)["reason"] for records in found.values() for record in records)


def test_two_groups_label_the_same_events_each_by_its_policy(broker: str, tmp_path: Path) -> None:
    policies = {
        "views": "silence: {rule: none}",
        "offers": "{positive: [offer], neutral: [profile_view], silence: {rule: none}}",
    }
    grounds = {}
    for name, policy in policies.items():
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.yaml").write_text(policy)
        grounds[name] = new_ground(broker, tmp_path / name)
    with (
        grounds["views"].worker(STREAM_QA_POLICY=str(tmp_path / "views.yaml")),
        grounds["offers"].worker(STREAM_QA_POLICY=str(tmp_path / "offers.yaml")),
    ):
        views, offers = (asyncio.run(labels_after_a_profile_view(grounds[name])) for name in policies)
    assert views == ["explicit:offer", "explicit:profile_view", "opened", "opened"]
    assert offers == ["explicit:offer", "opened", "opened"]
