"""What the labels of a whole history are, found the slow way: it has every event before it and knows no streaming."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stream_qa.events import Application, Engagement, Label
from stream_qa.events.fields import Event
from stream_qa.labels import LabelPolicy


class Outcome(NamedTuple):
    """The part of an application's last label that follows from the events alone."""

    value: int | None
    weight: float
    final: bool
    reason: str
    happened_at: int


def outcome_of(label: Label) -> Outcome:
    """Return that part of a label."""
    return Outcome(label.value, label.weight, label.final, label.reason, label.happened_at)


def without_wording(outcome: Outcome) -> Outcome:
    """Return an outcome in which a late engagement is as good as one that came in time."""
    return outcome._replace(reason=outcome.reason.replace("late-engagement:", "explicit:", 1))


def last_outcomes(history: Mapping[str, Sequence[Label]]) -> dict[str, Outcome]:
    """Return the outcome in the last revision of every application."""
    return {application_id: outcome_of(revisions[-1]) for application_id, revisions in history.items()}


def expected_outcomes(events: Sequence[Event], policy: LabelPolicy) -> dict[str, Outcome]:
    """Return the outcomes of one partition whose inputs were read to their ends; none of the events is rejected."""
    applications = [event for event in events if isinstance(event, Application)]
    engagements = [event for event in events if isinstance(event, Engagement)]
    if not applications:
        return {}
    # A label is closed by the event time that both inputs have reached.
    end = min(max(a.applied_at for a in applications), max((e.engaged_at for e in engagements), default=-1))
    return {
        application.application_id: _expected(
            application, [e for e in engagements if e.application_id == application.application_id], policy, end
        )
        for application in applications
    }


def _expected(application: Application, engagements: Sequence[Engagement], policy: LabelPolicy, end: int) -> Outcome:
    opens = application.applied_at - policy.orphan_wait
    closes = application.applied_at + policy.window
    answers = sorted(
        (engagement.engaged_at, engagement.kind) for engagement in engagements if opens < engagement.engaged_at < closes
    )
    closed = closes <= end
    for engaged_at, kind in answers:
        if kind in policy.positive:
            return Outcome(1, 1.0, True, f"explicit:{kind}", engaged_at)  # noqa: FBT003 - as in the label
    for engaged_at, kind in answers:
        if kind in policy.negative:
            return Outcome(0, 1.0, closed, f"explicit:{kind}", closes if closed else engaged_at)
    if closed:
        return Outcome(0, 1.0, True, "window-closed", closes)  # noqa: FBT003 - as in the label
    return Outcome(None, 0.0, False, "opened", application.applied_at)  # noqa: FBT003 - as in the label


def event_of(line: Mapping[str, Any]) -> Event:
    """Return the event of a log's line."""
    fields = {name: value for name, value in line.items() if name != "type"}
    return (Application if line["type"] == "application" else Engagement).model_validate(fields)
