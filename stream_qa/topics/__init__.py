"""The topics: declared in files, compared with those on the broker, created and configured there."""

from stream_qa.topics.broker import apply, compare, delete, existing_counts, layout, members, partition_counts
from stream_qa.topics.declaration import CO_PARTITIONED, TopicDeclaration, load_declarations
from stream_qa.topics.plan import Action, ConfigChange, Plan, PlannedTopic
from stream_qa.topics.refusal import refusal, why_unavailable
from stream_qa.topics.roles import Permission, Role, commands, load_roles, permissions

__all__ = [
    "CO_PARTITIONED",
    "Action",
    "ConfigChange",
    "Permission",
    "Plan",
    "PlannedTopic",
    "Role",
    "TopicDeclaration",
    "apply",
    "commands",
    "compare",
    "delete",
    "existing_counts",
    "layout",
    "load_declarations",
    "load_roles",
    "members",
    "partition_counts",
    "permissions",
    "refusal",
    "why_unavailable",
]
