"""What must be done so that the topics on the broker are those that are declared. Nothing is ever deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stream_qa.errors import PartitionCountError
from stream_qa.events import TopicNames
from stream_qa.events.topics import FIRST_GENERATION, is_of_any_generation
from stream_qa.topics.declaration import TopicDeclaration

WHY_REFUSED = "with another count keys would move to other partitions, and leave the state that is kept by partition"
#: Few messages and no state by partition: their counts stay as declared when all others are overridden.
NEVER_OVERRIDDEN = (TopicNames().dead_letters, TopicNames().models, TopicNames().generations)


class Action(StrEnum):
    """What is to be done about a topic."""

    CREATE = "create"
    CHANGE = "change"
    NOTHING = "nothing"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class ExistingTopic:
    """A topic as it is on the broker."""

    partitions: int
    replication_factor: int
    #: Every configuration key with the value in force, whether set or a default.
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A configuration key whose value on the broker is not the declared one."""

    key: str
    found: str | None
    declared: str


@dataclass(frozen=True, slots=True)
class PlannedTopic:
    """A declared topic under its name on the broker, and what is to be done about it."""

    name: str
    action: Action
    partitions: int
    replication_factor: int
    config: Mapping[str, str]
    existing_partitions: int | None = None
    #: A difference is mentioned only: moving replicas is the cluster operator's work.
    existing_replication_factor: int | None = None
    changes: tuple[ConfigChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All declared topics with what is to be done, and the topics of our prefix that are not declared."""

    topics: tuple[PlannedTopic, ...]
    #: They are left alone.
    undeclared: tuple[str, ...] = ()

    def having(self, action: Action) -> list[PlannedTopic]:
        """Return the topics that ``action`` is planned for."""
        return [topic for topic in self.topics if topic.action is action]

    @property
    def pending(self) -> bool:
        """Whether there is anything to create or to change."""
        return bool(self.having(Action.CREATE) or self.having(Action.CHANGE))

    @property
    def refused(self) -> bool:
        """Whether a topic has another partition count than it must have, so that nothing can be applied."""
        return bool(self.having(Action.REFUSE))

    def raise_if_refused(self) -> None:
        """Raise when the plan cannot be applied.

        Raises
        ------
        PartitionCountError
            A topic has another partition count than it must have.
        """
        if self.refused:
            counts = ", ".join(
                f"{topic.name} has {topic.existing_partitions} partitions and must have {topic.partitions}"
                for topic in self.having(Action.REFUSE)
            )
            raise PartitionCountError(f"nothing was changed: {counts}; {WHY_REFUSED}")


def make_plan(
    declarations: Sequence[TopicDeclaration],
    existing: Mapping[str, ExistingTopic],
    prefix: str = "",
    partitions: int | None = None,
    replication_factor: int | None = None,
    *,
    generation: int = FIRST_GENERATION,
) -> Plan:
    """Compare what is declared with what exists.

    Parameters
    ----------
    declarations
        The declared topics.
    existing
        The topics on the broker, by their names there.
    prefix
        In front of every declared name.
    partitions
        The count for all topics but dead letters, models and generations, instead of the declared one.
    replication_factor
        The factor for all topics, instead of the declared one.
    generation
        Whose topics.
    """
    names = TopicNames.with_prefix(prefix, generation)
    planned = []
    for declaration in declarations:
        name = names.of_declared(declaration.name)
        overridden = None if declaration.name in NEVER_OVERRIDDEN else partitions
        planned.append(
            _plan_topic(
                name,
                existing.get(name),
                declaration.partitions if overridden is None else overridden,
                declaration.replication_factor if replication_factor is None else replication_factor,
                declaration.config,
            )
        )
    declared = {topic.name for topic in planned}
    # Without a prefix nothing tells a topic of ours from the other topics of the cluster.
    undeclared = (
        name
        for name in sorted(existing)
        if prefix and name.startswith(prefix) and name not in declared and not is_of_any_generation(name, prefix)
    )
    return Plan(tuple(planned), tuple(undeclared))


def _plan_topic(
    name: str, existing: ExistingTopic | None, partitions: int, replication_factor: int, config: Mapping[str, str]
) -> PlannedTopic:
    if existing is None:
        return PlannedTopic(name, Action.CREATE, partitions, replication_factor, config)
    changes = tuple(
        ConfigChange(key, existing.config.get(key), value)
        for key, value in config.items()
        if existing.config.get(key) != value
    )
    action = Action.CHANGE if changes else Action.NOTHING
    if existing.partitions != partitions:
        action = Action.REFUSE
    return PlannedTopic(
        name,
        action,
        partitions,
        replication_factor,
        config,
        existing.partitions,
        existing.replication_factor,
        changes,
    )
