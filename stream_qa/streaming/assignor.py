"""Which worker gets which partitions: all topics' partitions of one number go to the same worker."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


class TogetherAssignor(AbstractPartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """Deals partition numbers out to the members in turn, each with that partition of every topic.

    The label stage reads the job learner's table, and the lanes of a partition are committed together: they must
    always move together.
    """

    name = "stream-qa-together"
    version = 0

    @classmethod
    def assign(
        cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Return what each member gets; called on the member that leads the group."""
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        partitions = sorted({partition for topic in topics for partition in cluster.partitions_for_topic(topic) or ()})
        dealt: dict[str, list[int]] = {member: [] for member in sorted(members)}
        for index, partition in enumerate(partitions):
            dealt[sorted(members)[index % len(members)]].append(partition)
        return {
            member: ConsumerProtocolMemberAssignment(cls.version, [(topic, numbers) for topic in topics], b"")
            for member, numbers in dealt.items()
        }

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this member tells the leader."""
        return ConsumerProtocolMemberMetadata(cls.version, list(topics), b"")

    @classmethod
    def on_assignment(cls, assignment: Any) -> None:  # noqa: ANN401
        """Take note of the assignment: there is nothing to remember."""
