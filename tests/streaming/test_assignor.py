"""Which member of a group gets which partitions."""

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.protocol.metadata import MetadataResponse_v0

from stream_qa.streaming.assignor import TogetherAssignor

TOPICS = ("applications", "engagements", "labels", "examples")


def cluster(partitions: int) -> ClusterMetadata:
    """Return the metadata of a broker that has the topics."""
    metadata = ClusterMetadata()
    metadata.update_metadata(
        MetadataResponse_v0(
            [(0, "localhost", 9092)],
            [(0, topic, [(0, number, 0, [0], [0]) for number in range(partitions)]) for topic in (*TOPICS, "scores")],
        )
    )
    return metadata


def assign(partitions: int, members: list[str]) -> dict[str, dict[str, list[int]]]:
    """Return the partitions of each topic of each member, having gone through the protocol's bytes."""
    subscriptions = {member: TogetherAssignor.metadata(TOPICS) for member in members}
    assignments = TogetherAssignor.assign(cluster(partitions), subscriptions)
    decoded = {
        member: ConsumerProtocolMemberAssignment.decode(assignment.encode())
        for member, assignment in assignments.items()
    }
    return {
        member: {topic: list(numbers) for topic, numbers in assignment.assignment}
        for member, assignment in decoded.items()
    }


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("partitions", [1, 3, 4, 8, 12])
def test_partitions_of_a_number_go_together_all_are_dealt_out_and_nobody_has_more_than_one_too_many(
    partitions: int, members: int
) -> None:
    assigned = assign(partitions, [f"member-{number}" for number in range(members)])
    assert len(assigned) == members
    dealt = []
    for topics in assigned.values():
        assert sorted(topics) == sorted(TOPICS)
        (numbers,) = {tuple(numbers) for numbers in topics.values()}
        dealt.append(numbers)
    assert sorted(number for numbers in dealt for number in numbers) == list(range(partitions))
    sizes = [len(numbers) for numbers in dealt]
    assert max(sizes) - min(sizes) <= 1


def test_the_order_in_which_members_joined_does_not_matter() -> None:
    assert assign(8, ["b", "a", "c"]) == assign(8, ["c", "b", "a"])


def test_a_topic_that_nobody_reads_is_not_assigned() -> None:
    assert "scores" not in assign(4, ["only"])["only"]


def test_topics_that_are_not_there_yet_are_nobodys() -> None:
    metadata = ClusterMetadata()
    assignments = TogetherAssignor.assign(metadata, {"only": TogetherAssignor.metadata(TOPICS)})
    assert [numbers for _, numbers in assignments["only"].assignment] == [[]] * len(TOPICS)


def test_it_is_an_assignor_of_the_client() -> None:
    assert issubclass(TogetherAssignor, AbstractPartitionAssignor)
    assert TogetherAssignor.metadata(TOPICS).subscription == list(TOPICS)
    TogetherAssignor.on_assignment(None)
