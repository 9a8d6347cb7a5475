"""The names of the topics: one place, with the prefix that keeps worker groups apart."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The name of every topic on the broker. ``TopicNames.with_prefix("eu-")`` gives ``eu-applications`` and so on."""

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

    @classmethod
    def with_prefix(cls, prefix: str) -> "TopicNames":
        """Return the names with ``prefix`` in front of each."""
        return cls(**{field.name: f"{prefix}{field.default}" for field in fields(cls)})

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
