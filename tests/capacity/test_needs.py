"""A marketplace worked out by hand."""

from dataclasses import replace

import pytest

from stream_qa.capacity.needs import Load, needs
from stream_qa.capacity.sample import Held, Sample, Sent
from stream_qa.events import TopicNames
from stream_qa.labels import LabelPolicy
from stream_qa.topics import load_declarations

POLICY = LabelPolicy(window_days=14, revision_days=14, memory_days=100)
SAMPLE = Sample(
    days=84,
    engagements=0.5,
    sent={
        "applications": Sent(1, 400),
        "engagements": Sent(0.5, 100),
        "labels": Sent(3, 2_000),
        "examples": Sent(1, 500),
        "coefficients": Sent(1, 300),
        "coefficient-snapshots": Sent(0.5, 150),
        "label-changelog": Sent(6, 1_500),
        "member-changelog": Sent(2, 500),
    },
    open_state=Held(5, 1_000),
    over_state=Held(2, 100),
    entity_bytes=300,
    events_per_cpu_second=10_000,
)
#: A hundred a second in the busiest hour.
LOAD = Load(applications_per_day=86_400 * 50, members=900_000, jobs=100_000, features=16, peak=2)
DECLARATIONS = load_declarations()


def test_a_marketplace_by_hand() -> None:
    needed = needs(LOAD, SAMPLE, POLICY, DECLARATIONS)
    assert needed.events_a_second == pytest.approx(100 * 1.5)
    assert needed.worker_events_a_second == pytest.approx(10_000 * 0.69 * 0.6)
    assert needed.workers_for_events == 1
    # 4.32 million applications a day: 28 days of them open, 100 days over, and a million entities.
    open_applications, over = 28 * 4_320_000, 100 * 4_320_000
    assert needed.state == pytest.approx(open_applications * 1_000 + over * 100 + 1_000_000 * 300)
    records = open_applications * 5 + over * 2 + 1_000_000
    # At 186,000 records a second, half an hour is 334.8 million.
    assert needed.workers_for_restoring == -(-records // 334_800_000) == 5
    assert needed.restore_seconds == pytest.approx(records / 5 / 186_000)
    # Eight groups cannot be dealt out evenly to five workers, ten can. Four times as many partitions as workers.
    assert (needed.workers, needed.groups, needed.partitions) == (5, 10, 20)
    # Each of the five workers has four partitions, each with three tables of two buffers.
    assert needed.worker_memory == 250_000_000 + (256 << 20) + 12 * 2 * (8 << 20)
    assert needed.redis_memory == 1_000_000 * (165 + 17 * 8)


def test_the_broker_by_hand() -> None:
    needed = needs(LOAD, SAMPLE, POLICY, DECLARATIONS)
    assert needed.broker_bytes_in == pytest.approx(100 * 5_450 * 3)
    # Workers read inputs, labels and examples, each of two servers the coefficients and their snapshots.
    assert needed.broker_bytes_out == pytest.approx(100 * (3_000 + 2 * 450))
    # Labels are kept for 400 days, three times over.
    assert needed.broker_disk["labels"] == pytest.approx(4_320_000 * 2_000 * 400 * 3)
    # Compacted: one snapshot an entity and as much again that is not yet compacted; the changelogs have the state.
    assert needed.broker_disk["coefficient-snapshots"] == pytest.approx(1_000_000 * 300 * 2 * 3)
    changelogs = needed.broker_disk["label-changelog"] + needed.broker_disk["member-changelog"]
    assert changelogs == pytest.approx(needed.state * 2 * 3)
    assert needed.broker_disk["label-changelog"] == pytest.approx(changelogs * 3 / 4)
    assert needed.broker_disk_total == sum(needed.broker_disk.values())


@pytest.mark.parametrize("topics", [TopicNames.with_prefix("eu-"), TopicNames.with_prefix("eu-", 2)])
def test_topics_with_a_prefix_or_of_a_later_generation_are_the_same_topics(topics: TopicNames) -> None:
    named_so = replace(SAMPLE, sent={topics.of_declared(name): sent for name, sent in SAMPLE.sent.items()})
    plain = needs(LOAD, SAMPLE, POLICY, DECLARATIONS)
    named = needs(LOAD, named_so, POLICY, DECLARATIONS, topics)
    assert named.broker_bytes_out == plain.broker_bytes_out
    assert named.broker_disk == {topics.of_declared(name): size for name, size in plain.broker_disk.items()}


@pytest.mark.parametrize(("applications", "workers"), [(1, 1), (86_400 * 2_759, 1), (86_400 * 2_761, 2)])
def test_workers_follow_the_events(applications: float, workers: int) -> None:
    """4,140 events a second are 2,760 applications with half an engagement each."""
    load = replace(LOAD, applications_per_day=applications, peak=1, restore_minutes=1e9)
    assert needs(load, SAMPLE, POLICY, DECLARATIONS).workers == workers


@pytest.mark.parametrize(
    ("workers", "groups", "partitions"), [(1, 8, 8), (2, 8, 8), (3, 9, 18), (8, 8, 32), (9, 9, 36), (140, 140, 560)]
)
def test_the_groups_are_so_many_that_every_worker_has_as_many(workers: int, groups: int, partitions: int) -> None:
    """Workers beyond the groups would be idle, and one with a group more would not be restored in time."""
    applications = 86_400 * 2_760 * (workers - 0.5)
    load = replace(LOAD, applications_per_day=applications, peak=1, restore_minutes=1e9)
    needed = needs(load, SAMPLE, POLICY, DECLARATIONS)
    assert (needed.workers, needed.groups, needed.partitions) == (workers, groups, partitions)
    assert needed.groups % needed.workers == needed.partitions % needed.groups == 0


def test_notifications_are_a_fourth_table_of_a_partition_and_read_the_scores() -> None:
    sample = replace(SAMPLE, sent={**SAMPLE.sent, "scores": Sent(1, 700)})
    without, notifying = (needs(replace(LOAD, notify=notify), sample, POLICY, DECLARATIONS) for notify in (False, True))
    assert notifying.worker_memory - without.worker_memory == 4 * 2 * (8 << 20)
    assert notifying.broker_bytes_out - without.broker_bytes_out == pytest.approx(100 * 700)
