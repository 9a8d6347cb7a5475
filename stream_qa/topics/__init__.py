"""The topics: declared in files, compared with those on the broker, created and configured there."""

from stream_qa.topics.broker import apply, compare, delete, existing_counts, layout, members, partition_counts
from stream_qa.topics.declaration import CO_PARTITIONED, TopicDeclaration, load_declarations
from stream_qa.topics.plan import Action, ConfigChange, Plan, PlannedTopic

__all__ = [
    "CO_PARTITIONED",
    "Action",
    "ConfigChange",
    "Plan",
    "PlannedTopic",
    "TopicDeclaration",
    "apply",
    "compare",
    "delete",
    "existing_counts",
    "layout",
    "load_declarations",
    "members",
    "partition_counts",
]
