"""The names of the topics: one place, with the prefix and the generation that keep worker groups apart."""

import re
from dataclasses import dataclass, fields

FIRST_GENERATION = 1
_SUFFIX = re.compile(r"\.g([1-9][0-9]*)")


def generation_suffix(generation: int) -> str:
    """Return what stands behind the names of all that a generation has for itself: nothing for the first."""
    return "" if generation == FIRST_GENERATION else f".g{generation}"


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The name of every topic on the broker. ``TopicNames.with_prefix("eu-")`` gives ``eu-applications`` and so on.

    A generation, a worker group that learns everything anew beside another one, has all topics but three for itself:
    the inputs are everybody's, and ``generations`` says which of them serves.
    """

    applications: str = "applications"
    engagements: str = "engagements"
    ticks: str = "ticks"
    labels: str = "labels"
    examples: str = "examples"
    scores: str = "scores"
    notifications: str = "notifications"
    coefficients: str = "coefficients"
    coefficient_snapshots: str = "coefficient-snapshots"
    models: str = "models"
    dead_letters: str = "dead-letters"
    label_changelog: str = "label-changelog"
    member_changelog: str = "member-changelog"
    job_changelog: str = "job-changelog"
    notify_changelog: str = "notify-changelog"
    generations: str = "generations"

    @classmethod
    def with_prefix(cls, prefix: str, generation: int = FIRST_GENERATION) -> "TopicNames":
        """Return the names with ``prefix`` in front of each, as a generation uses them."""
        suffix = generation_suffix(generation)
        shared = cls().shared()
        return cls(
            **{
                field.name: f"{prefix}{field.default}{'' if field.default in shared else suffix}"
                for field in fields(cls)
            }
        )

    def shared(self) -> tuple[str, ...]:
        """Return the names of the topics that all generations have in common."""
        return self.applications, self.engagements, self.generations

    def own(self) -> tuple[str, ...]:
        """Return the names of the topics that one generation has for itself."""
        return tuple(name for name in self.all() if name not in self.shared())

    def of_declared(self, declared: str) -> str:
        """Return the name of a topic by that in its declaration."""
        names = {field.default: getattr(self, field.name) for field in fields(self)}
        return str(names[declared])

    def declared(self, name: str) -> str:
        """Return the name in a topic's declaration: without prefix and generation."""
        names = {getattr(self, field.name): field.default for field in fields(self)}
        return str(names[name])

    def all(self) -> tuple[str, ...]:
        """Return the names of all topics."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def partitioned_together(self) -> tuple[str, ...]:
        """Return the names of the topics whose partitions of one number belong to one worker."""
        return (
            self.applications,
            self.engagements,
            self.ticks,
            self.labels,
            self.examples,
            self.scores,
            self.label_changelog,
            self.member_changelog,
            self.job_changelog,
            self.notify_changelog,
        )


def is_of_any_generation(name: str, prefix: str) -> bool:
    """Whether this is the name of a topic of some generation under a prefix."""
    if not name.startswith(prefix):
        return False
    declared, dot, suffix = name.removeprefix(prefix).partition(".")
    found = _SUFFIX.fullmatch(dot + suffix)
    generation = int(found[1]) if found else FIRST_GENERATION
    return name in TopicNames.with_prefix(prefix, generation).all() and declared in TopicNames().all()
