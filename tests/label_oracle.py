"""What the labels of a whole history are, found the slow way: it has every event before it and knows no streaming."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stream_qa.events import Application, Engagement, Label
from stream_qa.events.fields import Event
from stream_qa.labels import LabelPolicy
from stream_qa.labels.policy import Precedence, SilenceRule


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


def without_moment_of_silence(outcome: Outcome) -> Outcome:
    """Return an outcome in which it does not matter which of several answers to others made it a negative."""
    return outcome._replace(happened_at=0) if outcome.reason.startswith("silence:") else outcome


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
    engagements_of: defaultdict[str, list[Engagement]] = defaultdict(list)
    for engagement in engagements:
        engagements_of[engagement.application_id].append(engagement)
    answers = {a.application_id: _answers(a, engagements_of[a.application_id], policy) for a in applications}
    last_answered: defaultdict[str, int] = defaultdict(lambda: -1)
    for a in applications:
        if answers[a.application_id]:
            last_answered[a.job_id] = max(last_answered[a.job_id], a.applied_at)
    return {
        a.application_id: _expected(
            a, answers[a.application_id], policy, end, silent=a.applied_at < last_answered[a.job_id]
        )
        for a in applications
    }


def _answers(application: Application, engagements: Sequence[Engagement], policy: LabelPolicy) -> list[Engagement]:
    """Return which of its engagements answer an application in time: the earliest first, a positive before others."""
    opens, closes = application.applied_at - policy.orphan_wait, application.applied_at + policy.window
    answers = [
        engagement
        for engagement in engagements
        if opens < engagement.engaged_at < closes and engagement.kind in policy.positive | policy.negative
    ]
    return sorted(answers, key=lambda answer: (answer.engaged_at, answer.kind in policy.negative, answer.kind))


def _deciding(answers: Sequence[Engagement], policy: LabelPolicy) -> Engagement:
    positive = [answer for answer in answers if answer.kind in policy.positive]
    negative = [answer for answer in answers if answer.kind in policy.negative]
    match policy.precedence:
        case Precedence.POSITIVE:
            return (positive or negative)[0]
        case Precedence.NEGATIVE:
            return (negative or positive)[0]
        case Precedence.FIRST:
            return answers[0]
        case Precedence.LAST:
            latest = [answer for answer in answers if answer.engaged_at == answers[-1].engaged_at]
            return latest[0]


def _expected(
    application: Application, answers: Sequence[Engagement], policy: LabelPolicy, end: int, *, silent: bool
) -> Outcome:
    closes = application.applied_at + policy.window
    closed = closes <= end
    if answers:
        deciding = _deciding(answers, policy)
        value = int(deciding.kind in policy.positive)
        settled = policy.precedence == (Precedence.POSITIVE if value else Precedence.NEGATIVE)
        happened_at = closes if closed and not settled else deciding.engaged_at
        return Outcome(value, 1.0, settled or closed, f"explicit:{deciding.kind}", happened_at)
    if closed:
        return Outcome(0, 1.0, True, "window-closed", closes)  # noqa: FBT003 - as in the label
    if silent and policy.silence.rule is not SilenceRule.NONE:
        return Outcome(0, policy.silence.weight, False, "silence:later-response", 0)  # noqa: FBT003 - as in the label
    return Outcome(None, 0.0, False, "opened", application.applied_at)  # noqa: FBT003 - as in the label


def event_of(line: Mapping[str, Any]) -> Event:
    """Return the event of a log's line."""
    fields = {name: value for name, value in line.items() if name != "type"}
    return (Application if line["type"] == "application" else Engagement).model_validate(fields)
