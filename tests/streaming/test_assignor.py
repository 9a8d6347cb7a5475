"""Which member of a group gets which partitions."""

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.protocol.metadata import MetadataResponse_v0
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.streaming.assignor import Claim, TogetherAssignor, deal

GROUPS = 64
"""More than partitions: each is a group of its own."""
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
    subscriptions = {member: TogetherAssignor(GROUPS).metadata(TOPICS) for member in members}
    assignments = TogetherAssignor(GROUPS).assign(cluster(partitions), subscriptions)
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


def test_a_member_gets_of_the_topics_that_it_reads_itself() -> None:
    """In a rolling update the new members can read one more; the client refuses what it has not asked for."""
    read = {"old": TOPICS, "new": (*TOPICS, "scores")}
    subscriptions = {member: TogetherAssignor(GROUPS).metadata(topics) for member, topics in read.items()}
    assignments = TogetherAssignor(GROUPS).assign(cluster(4), subscriptions)
    for member, topics in read.items():
        assert sorted(topic for topic, _ in assignments[member].assignment) == sorted(topics)


def test_topics_that_are_not_there_yet_are_nobodys() -> None:
    metadata = ClusterMetadata()
    assignments = TogetherAssignor(GROUPS).assign(metadata, {"only": TogetherAssignor(GROUPS).metadata(TOPICS)})
    assert [numbers for _, numbers in assignments["only"].assignment] == [[]] * len(TOPICS)


def rebalance(partitions: int, members: dict[str, TogetherAssignor]) -> dict[str, set[int]]:
    """Let the members of a group, which remember, come to an assignment through the protocol's bytes."""
    told = {
        member: ConsumerProtocolMemberMetadata.decode(assignor.metadata(TOPICS).encode())
        for member, assignor in members.items()
    }
    leader = next(iter(members.values()))
    assignments = leader.assign(cluster(partitions), told)
    for member, assignor in members.items():
        assignor.on_assignment(ConsumerProtocolMemberAssignment.decode(assignments[member].encode()))
    return {member: set(assignment.assignment[0][1]) for member, assignment in assignments.items()}


@pytest.mark.parametrize("partitions", [4, 12, 32])
def test_who_stays_keeps_what_it_has_when_others_come_and_go(partitions: int) -> None:
    members = {"c": TogetherAssignor(GROUPS), "d": TogetherAssignor(GROUPS)}
    first = rebalance(partitions, members)
    assert rebalance(partitions, members) == first

    members["a"] = TogetherAssignor(GROUPS)
    three = rebalance(partitions, members)
    # The new one has its share, and nothing else has moved.
    assert three["c"] <= first["c"]
    assert three["d"] <= first["d"]
    assert len(three["a"]) == partitions // 3

    del members["a"]
    two = rebalance(partitions, members)
    assert two["c"] >= three["c"]
    assert two["d"] >= three["d"]


def test_who_comes_back_gets_what_is_on_its_disk() -> None:
    members = {"a": TogetherAssignor(GROUPS), "b": TogetherAssignor(GROUPS)}
    before = rebalance(8, members)
    alone = {"a": members["a"]}
    assert rebalance(8, alone) == {"a": set(range(8))}
    assert rebalance(8, {"a": members["a"], "z": TogetherAssignor(GROUPS, on_disk=before["b"])}) == {
        "a": before["a"],
        "z": before["b"],
    }


def test_of_two_that_claim_the_same_the_later_assignment_counts() -> None:
    claims = {"zombie": Claim(3, [0, 1]), "owner": Claim(4, [0, 1]), "other": Claim(4, [2, 3])}
    dealt = deal(range(6), claims)
    assert dealt["owner"] == [0, 1]
    assert dealt["other"] == [2, 3]
    assert dealt["zombie"] == [4, 5]


CLAIMS = st.dictionaries(
    st.sampled_from("abcdefg"),
    st.builds(Claim, st.integers(0, 3), st.lists(st.integers(0, 20), unique=True)),
    min_size=1,
)


@given(st.integers(0, 16), CLAIMS)
def test_whatever_is_claimed_all_are_dealt_out_evenly_and_in_one_way(partitions: int, claims: dict[str, Claim]) -> None:
    dealt = deal(range(partitions), claims)
    assert sorted(number for numbers in dealt.values() for number in numbers) == list(range(partitions))
    sizes = [len(numbers) for numbers in dealt.values()]
    assert max(sizes) - min(sizes) <= 1
    assert dealt == deal(range(partitions), dict(reversed(claims.items())))


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize(("partitions", "groups"), [(12, 4), (10, 4), (3, 8)])
def test_groups_move_whole(partitions: int, groups: int, members: int) -> None:
    assignors = {f"member-{number}": TogetherAssignor(groups) for number in range(members)}
    assigned = rebalance(partitions, assignors)
    dealt = {member: {number % groups for number in numbers} for member, numbers in assigned.items()}
    for member, numbers in assigned.items():
        assert numbers == {number for number in range(partitions) if number % groups in dealt[member]}
    sizes = [len(found) for found in dealt.values()]
    assert max(sizes) - min(sizes) <= 1
    assert rebalance(partitions, assignors) == assigned


def test_members_that_do_not_agree_on_the_groups_have_no_assignor_in_common() -> None:
    assert TogetherAssignor(4).name != TogetherAssignor(8).name
    assert TogetherAssignor(4).name == TogetherAssignor(4).name


def test_it_is_an_assignor_of_the_client() -> None:
    assert issubclass(TogetherAssignor, AbstractPartitionAssignor)
    assert TogetherAssignor(GROUPS).metadata(TOPICS).subscription == list(TOPICS)
