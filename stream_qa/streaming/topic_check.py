"""Whether the topics on the broker are such that a worker can work with them."""

from stream_qa.errors import PartitionCountError
from stream_qa.settings import Settings
from stream_qa.topics import existing_counts, load_declarations

_TOMBSTONES_KEPT = "delete.retention.ms"


async def check_topics(settings: Settings) -> dict[str, int]:
    """Return the partition count of every topic, when all exist and those that must meet have equal counts.

    Raises
    ------
    BrokerUnavailableError
        No broker answers.
    TopicMissingError
        A topic does not exist.
    PartitionCountError
        The counts of topics whose partitions belong together differ.
    """
    topics = settings.topics
    counts = await existing_counts(settings.kafka, topics.all())
    together = {topic: counts[topic] for topic in topics.partitioned_together()}
    if len(set(together.values())) > 1:
        unequal = ", ".join(f"{topic} {count}" for topic, count in together.items())
        raise PartitionCountError(f"these topics must have equal numbers of partitions, and have: {unequal}")
    return counts


def tombstones_kept() -> int:
    """Return for how many milliseconds the changelogs keep deletions, as they are declared."""
    return min(
        int(declared.config[_TOMBSTONES_KEPT])
        for declared in load_declarations()
        if declared.name.endswith("-changelog")
    )
