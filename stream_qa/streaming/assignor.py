"""Which worker gets which partitions: whole groups of partition numbers, of all topics, that stay where they are."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from stream_qa.streaming.group import group_of


class Claim(NamedTuple):
    """What a member would like to keep."""

    round: int
    """That of the assignment in which it had it; 0 for what is only left on its disk."""
    groups: Sequence[int] = ()


class TogetherAssignor(AbstractPartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """Deals groups of partition numbers out evenly, each with those of every topic, and leaves what it can where it is.

    The label stage reads the job learner's table, and the lanes of a group are committed together: they must always
    move together.

    Parameters
    ----------
    groups
        How many groups there are. Members that do not agree on it cannot be in one consumer group.
    on_disk
        Partitions of which this worker has tables from before.
    """

    version = 0

    def __init__(self, groups: int, on_disk: Iterable[int] = ()) -> None:
        self._groups = groups
        self._claim = Claim(0, self._groups_of(on_disk))

    @property
    def name(self) -> str:
        """What the members of a consumer group must have in common."""
        return f"stream-qa-{self._groups}-groups-or-one"

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Return what each member gets; called on the member that leads the group."""
        read = {member: sorted(metadata.subscription) for member, metadata in members.items()}
        topics = {topic for own in read.values() for topic in own}
        partitions = {partition for topic in topics for partition in cluster.partitions_for_topic(topic) or ()}
        groups = {group_of(partition, self._groups) for partition in partitions}
        claims = {member: _read(metadata.user_data) for member, metadata in members.items()}
        following = orjson.dumps(max(claim.round for claim in claims.values()) + 1)
        assigned = {
            member: sorted(partition for partition in partitions if group_of(partition, self._groups) in dealt)
            for member, dealt in deal(groups, claims).items()
        }
        return {
            member: ConsumerProtocolMemberAssignment(
                self.version, [(topic, numbers) for topic in read[member]], following
            )
            for member, numbers in assigned.items()
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this member tells the leader."""
        return ConsumerProtocolMemberMetadata(self.version, list(topics), orjson.dumps([*self._claim]))

    def on_assignment(self, assignment: Any) -> None:  # noqa: ANN401
        """Take note of what this member has now."""
        held = {partition for _, partitions in assignment.assignment for partition in partitions}
        self._claim = Claim(orjson.loads(assignment.user_data or b"0"), self._groups_of(held))

    def _groups_of(self, partitions: Iterable[int]) -> list[int]:
        return sorted({group_of(partition, self._groups) for partition in partitions})


def deal(groups: Collection[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Return the groups of each member: as evenly as can be, and as they were where that allows it.

    It depends on the arguments alone, so whichever member leads comes to the same.
    """
    wanted = {member: set(groups).intersection(claim.groups) for member, claim in claims.items()}
    # The newest claim holds; older ones are of members that were away, or a former life's tables.
    by_age = sorted(claims, key=lambda member: (-claims[member].round, member))
    held: dict[str, list[int]] = {member: [] for member in sorted(claims)}
    free = set(groups)
    for member in by_age:
        held[member] = sorted(wanted[member] & free)
        free -= wanted[member]
    share, more = divmod(len(groups), len(claims))
    ordered = sorted(held, key=lambda member: (-len(held[member]), member))
    quota = {member: share + (place < more) for place, member in enumerate(ordered)}
    for member, numbers in held.items():
        others = set().union(*(wanted[other] for other in claims if other != member))
        # What another has on its disk is given up first.
        numbers.sort(key=lambda number: (number in others, number))
        free.update(numbers[quota[member] :])
        del numbers[quota[member] :]
    for number in sorted(free):
        open_to = [member for member in held if len(held[member]) < quota[member]]
        held[min(open_to, key=lambda member: (number not in wanted[member], member))].append(number)
    return {member: sorted(numbers) for member, numbers in held.items()}


def _read(user_data: bytes | None) -> Claim:
    """Return a member's claim; one that makes none is a newer or older version of this."""
    return Claim(*orjson.loads(user_data)) if user_data else Claim(0)
