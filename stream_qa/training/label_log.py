"""From labels back to the events that they follow from, as far as labels depend on them.

A label says everything of its application, and each revision what made it. So the topic of labels, or an export of it,
is as good to train and to evaluate on as the inputs, which are kept for a shorter time: the same code reads both.
"""

from msgspec import Raw

from stream_qa.events import TopicNames, wire
from stream_qa.labels import LabelPolicy
from stream_qa.replay.log import LogEvent

_ANSWERED, _LATE = "explicit:", "late-engagement:"


def believing(policy: LabelPolicy) -> LabelPolicy:
    """Return a policy for events that were believed before: none is too far ahead of the others.

    Those between two of them that said nothing new are in no label.
    """
    return LabelPolicy.model_validate(policy.model_dump() | {"jump_days": 36_500})


class LabelLog:
    """Takes in labels, each application's revisions in any order, and gives the events.

    Engagements that changed no label are not among them. One of a kind that settles nothing and that came after the
    window, or so late that its label was final already, has the last moment of the window.

    Parameters
    ----------
    topics
        Those of the events.
    policy
        By which the labels were made.
    """

    def __init__(self, topics: TopicNames, policy: LabelPolicy) -> None:
        self.labels = 0
        """How many were taken in."""
        self.reached = 0
        """The event time (ms) that the newest of their writers had reached: answers may have happened later."""
        self.named_until: dict[str, int] = {}
        """By model: the event time (ms) at which a label named it last."""
        self._topics = topics
        self._window = policy.window
        self._applications: dict[str, LogEvent] = {}
        self._engagements: set[LogEvent] = set()

    def add(self, label: wire.Label) -> None:
        """Take in a label."""
        self.labels += 1
        self.reached = max(self.reached, label.watermark)
        self.named_until[label.model_version] = max(label.watermark, self.named_until.get(label.model_version, 0))
        key = label.job_id.encode()
        if label.application_id not in self._applications:
            value = wire.encode(_application(label))
            event = LogEvent(label.applied_at, 0, value, key, self._topics.applications)
            self._applications[label.application_id] = event
        engaged_at = self._engaged_at(label)
        if engaged_at is not None:
            _, _, kind = label.reason.partition(":")
            value = wire.encode(wire.Engagement(label.application_id, label.job_id, kind, engaged_at))
            self._engagements.add(LogEvent(engaged_at, 1, value, key, self._topics.engagements))

    def events(self, until: int | None = None) -> list[LogEvent]:
        """Return the events before ``until`` (ms), or all, in the order of their times."""
        found = [*self._applications.values(), *self._engagements]
        return sorted(event for event in found if until is None or event.time < until)

    def _engaged_at(self, label: wire.Label) -> int | None:
        """Return when the engagement happened that made this revision (ms); ``None`` where none did."""
        closes_at = label.applied_at + self._window
        if label.reason.startswith(_LATE):
            return min(label.happened_at, closes_at - 1)
        # One that settles nothing is said again when the window closes.
        return label.happened_at if label.reason.startswith(_ANSWERED) and label.happened_at < closes_at else None


def _application(label: wire.Label) -> wire.Application:
    return wire.Application(
        label.application_id,
        label.member_id,
        label.job_id,
        label.applied_at,
        label.feature_schema,
        Raw(label.member_features),
        Raw(label.job_features),
        label.global_log_odds if label.global_brought else None,
    )
