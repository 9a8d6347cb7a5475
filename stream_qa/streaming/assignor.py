"""Which worker gets which partitions: all topics' partitions of one number go to the same worker, and stay there."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


class Claim(NamedTuple):
    """What a member would like to keep."""

    round: int
    """That of the assignment in which it had it; 0 for what is only left on its disk."""
    partitions: Sequence[int] = ()


class TogetherAssignor(AbstractPartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """Deals partition numbers out evenly, each with that partition of every topic, and leaves what it can where it is.

    The label stage reads the job learner's table, and the lanes of a partition are committed together: they must
    always move together.

    Parameters
    ----------
    on_disk
        Partitions of which this worker has tables from before.
    """

    name = "stream-qa-together"
    version = 0

    def __init__(self, on_disk: Iterable[int] = ()) -> None:
        self._claim = Claim(0, sorted(on_disk))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Return what each member gets; called on the member that leads the group."""
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        partitions = {partition for topic in topics for partition in cluster.partitions_for_topic(topic) or ()}
        claims = {member: _read(metadata.user_data) for member, metadata in members.items()}
        following = orjson.dumps(max(claim.round for claim in claims.values()) + 1)
        return {
            member: ConsumerProtocolMemberAssignment(self.version, [(topic, numbers) for topic in topics], following)
            for member, numbers in deal(partitions, claims).items()
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this member tells the leader."""
        return ConsumerProtocolMemberMetadata(self.version, list(topics), orjson.dumps([*self._claim]))

    def on_assignment(self, assignment: Any) -> None:  # noqa: ANN401
        """Take note of what this member has now."""
        held = {partition for _, partitions in assignment.assignment for partition in partitions}
        self._claim = Claim(orjson.loads(assignment.user_data or b"0"), sorted(held))


def deal(partitions: Collection[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Return the partitions of each member: as evenly as can be, and as they were where that allows it.

    It depends on the arguments alone, so whichever member leads comes to the same.
    """
    wanted = {member: set(partitions).intersection(claim.partitions) for member, claim in claims.items()}
    # The newest claim holds; older ones are of members that were away, or a former life's tables.
    by_age = sorted(claims, key=lambda member: (-claims[member].round, member))
    held: dict[str, list[int]] = {member: [] for member in sorted(claims)}
    free = set(partitions)
    for member in by_age:
        held[member] = sorted(wanted[member] & free)
        free -= wanted[member]
    share, more = divmod(len(partitions), len(claims))
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
