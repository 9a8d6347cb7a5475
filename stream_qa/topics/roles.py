"""What each kind of program may do on the broker: one file says it, and a broker is told by kafka-acls commands."""

import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from stream_qa.events import TopicNames

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs", "AlterConfigs"]
Resource = Literal["topic", "group", "transactional-id"]
#: Finding the coordinator, and all else.
_IN_TRANSACTIONS: tuple[Operation, ...] = ("Describe", "Write")


class Role(BaseModel):
    """What one kind of program does, with topics by the names of their declarations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Annotated[str, Field(min_length=1)]
    topics: dict[Operation, list[str]]
    group: list[Operation] = []
    """On the consumer group of the workers."""
    transactional_ids: list[str] = []
    """It writes under ids that begin with the name of one of these topics and a dash."""


class Permission(NamedTuple):
    """That something may be done to a resource, or to all whose names begin with ``name``."""

    resource: Resource
    name: str
    prefixed: bool
    operation: Operation


def load_roles() -> dict[str, Role]:
    """Read the roles that come with the project, by name."""
    text = Path(__file__).with_name("roles.yaml").read_bytes()
    return TypeAdapter(dict[str, Role]).validate_python(yaml.safe_load(text))


def permissions(role: Role, topics: TopicNames, group_id: str) -> Iterator[Permission]:
    """Yield what a role may do.

    Parameters
    ----------
    role
        As it is declared.
    topics
        The names on the broker.
    group_id
        The name of the workers' consumer group.
    """
    for operation, declared in role.topics.items():
        for name in declared:
            yield Permission("topic", topics.of_declared(name), prefixed=False, operation=operation)
    for operation in role.group:
        yield Permission("group", group_id, prefixed=False, operation=operation)
    for name in role.transactional_ids:
        for operation in _IN_TRANSACTIONS:
            yield Permission("transactional-id", f"{topics.of_declared(name)}-", prefixed=True, operation=operation)


def commands(allowed: Sequence[Permission], principal: str, broker: str, command_config: str | None) -> list[str]:
    """Return the fewest command lines that allow it, one for the resources with the same operations.

    Parameters
    ----------
    allowed
        What is.
    principal
        To whom, as the broker names it: ``User:name``.
    broker
        ``host:port`` of the broker.
    command_config
        The properties file by which the tool connects; ``None`` where it needs none.
    """
    of_resource: defaultdict[tuple[Resource, str, bool], list[Operation]] = defaultdict(list)
    for resource, name, prefixed, operation in allowed:
        of_resource[resource, name, prefixed].append(operation)
    alike: defaultdict[tuple[Resource, bool, tuple[Operation, ...]], list[str]] = defaultdict(list)
    for (resource, name, prefixed), found in of_resource.items():
        alike[resource, prefixed, tuple(sorted(found))].append(name)
    connecting = ["kafka-acls.sh", "--bootstrap-server", broker]
    if command_config is not None:
        connecting += ["--command-config", command_config]
    lines = []
    for (resource, prefixed, operations), names in alike.items():
        line = [*connecting, "--add", "--allow-principal", principal]
        line += [word for operation in operations for word in ("--operation", operation)]
        line += ["--resource-pattern-type", "prefixed"] if prefixed else []
        line += [word for name in names for word in (f"--{resource}", name)]
        lines.append(shlex.join(line))
    return lines
