"""What counts as hearing back: the policy of the context, a setting and not code."""

from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_qa.durations import DAY, MINUTE
from stream_qa.errors import PolicyError
from stream_qa.events import Value


class Answer(Protocol):
    """What of an engagement decides."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def engaged_at(self) -> int:
        """When, in milliseconds."""


A = TypeVar("A", bound=Answer)


class Precedence(StrEnum):
    """Which engagement decides where several say different things."""

    POSITIVE = "positive"
    """The earliest positive one, else the earliest negative one: an offer after a rejection is an offer."""
    NEGATIVE = "negative"
    """The earliest negative one, else the earliest positive one."""
    FIRST = "first"
    """The earliest one."""
    LAST = "last"
    """The latest one: a rejection after an interview is a rejection, an offer after that an offer."""


class SilenceRule(StrEnum):
    """What silence says before the window closes."""

    NONE = "none"
    """Nothing."""
    LATER_RESPONSE = "later-response"
    """No, from the moment at which the other side answers an application that was sent later to the same job."""
    CURVE = "curve"
    """The share of historical positives that would have been answered by now; without curves, the rule above."""


class Silence(BaseModel):
    """When silence becomes a provisional negative, and how much it counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: SilenceRule = SilenceRule.CURVE
    weight: Annotated[
        float, Field(gt=0, le=1, description="how much a provisional negative counts by the rule later-response")
    ] = 1.0
    minimum_change: Annotated[
        float, Field(gt=0, le=1, description="how far a curve must have moved to be said again")
    ] = 0.12


class LabelPolicy(BaseModel):
    """Which engagement kinds say yes, which say no, what silence says, and how long to wait.

    Neutral kinds are known to happen and decide nothing. Kinds of no list decide nothing either, and are counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    positive: frozenset[str] = frozenset({"profile_view", "message", "interview", "offer", "merged"})
    negative: frozenset[str] = frozenset({"rejection", "rejected"})
    neutral: frozenset[str] = frozenset()
    precedence: Precedence = Precedence.POSITIVE
    silence: Silence = Silence()
    window_days: Annotated[float, Field(gt=0, le=3_650, description="silence for this long is a final negative")] = 14
    revision_days: Annotated[
        float, Field(gt=0, le=3_650, description="after the window, how long a late engagement can still revise")
    ] = 14
    memory_days: Annotated[
        float, Field(gt=0, le=3_650, description="after that, how long its id is remembered: for repeats, late answers")
    ] = 1_095
    orphan_days: Annotated[
        float, Field(gt=0, le=3_650, description="how long an engagement waits for its application")
    ] = 14
    orphan_count: Annotated[int, Field(ge=1, le=1_000, description="engagements that may wait for one application")] = (
        32
    )
    lateness_minutes: Annotated[
        float, Field(ge=0, le=100_000, description="event time stays so far behind what both inputs have reached")
    ] = 0
    jump_days: Annotated[
        float,
        Field(gt=0, le=36_500, description="an event further ahead is believed only when a second one agrees"),
    ] = 30

    @model_validator(mode="after")
    def _kinds_say_one_thing(self) -> "LabelPolicy":
        for one, other, names in (
            (self.positive, self.negative, "positive and negative"),
            (self.positive, self.neutral, "positive and neutral"),
            (self.negative, self.neutral, "negative and neutral"),
        ):
            if both := one & other:
                raise ValueError(f"{sorted(both)} cannot be {names}")
        return self

    @cached_property
    def window(self) -> int:
        """Milliseconds from an application to its final label."""
        return _milliseconds(self.window_days)

    @cached_property
    def retention(self) -> int:
        """Milliseconds from an application to the end of everything that can be said about it."""
        return self.window + _milliseconds(self.revision_days)

    @cached_property
    def memory(self) -> int:
        """Milliseconds that the id of an application is remembered after its retention."""
        return _milliseconds(self.memory_days)

    @cached_property
    def orphan_wait(self) -> int:
        """Milliseconds that an engagement waits for its application."""
        return _milliseconds(self.orphan_days)

    @cached_property
    def lateness(self) -> int:
        """Milliseconds by which event time stays behind what both inputs have reached."""
        return round(self.lateness_minutes * MINUTE)

    @cached_property
    def jump(self) -> int:
        """Milliseconds by which one event alone may be ahead of its input."""
        return _milliseconds(self.jump_days)

    def value(self, kind: str) -> Value | None:
        """Return the label value that an engagement of this kind asks for; ``None`` for one that decides nothing."""
        if kind in self.positive:
            return 1
        return 0 if kind in self.negative else None

    def knows(self, kind: str) -> bool:
        """Return whether a kind is in one of the lists."""
        return kind in self.positive or kind in self.negative or kind in self.neutral

    def settles(self, value: Value) -> bool:
        """Return whether nothing that may still come can say otherwise."""
        return self.precedence == (Precedence.POSITIVE if value else Precedence.NEGATIVE)

    def deciding(self, engagements: Iterable[A], applied_at: int) -> A | None:
        """Return the engagement that decides about an application of ``applied_at`` (ms); ``None`` where none does.

        By the precedence: a function of the set, whatever the order of arrival. Too late are those from the end of the
        window on; too early those that would not have waited for the application had they come before it.
        """
        candidates = self._candidates(engagements, applied_at)
        # Mostly there is nothing to choose.
        return candidates[0] if len(candidates) == 1 else min(candidates, key=self._rank, default=None)

    def first_answer(self, engagements: Iterable[A], applied_at: int) -> int | None:
        """Return when the first engagement came (ms) that could decide about an application of ``applied_at`` (ms)."""
        return min((engagement.engaged_at for engagement in self._candidates(engagements, applied_at)), default=None)

    def _candidates(self, engagements: Iterable[A], applied_at: int) -> list[A]:
        earliest, latest = applied_at - self.orphan_wait, applied_at + self.window
        return [
            engagement
            for engagement in engagements
            if self.value(engagement.kind) is not None and earliest < engagement.engaged_at < latest
        ]

    def _rank(self, engagement: A) -> tuple[int, int, int, str]:
        """Return what orders engagements, the deciding one first; at the same moment a positive one."""
        positive, engaged_at = engagement.kind in self.positive, engagement.engaged_at
        match self.precedence:
            case Precedence.POSITIVE:
                return -positive, engaged_at, 0, engagement.kind
            case Precedence.NEGATIVE:
                return positive, engaged_at, 0, engagement.kind
            case Precedence.FIRST:
                return 0, engaged_at, -positive, engagement.kind
            case Precedence.LAST:
                return 0, -engaged_at, -positive, engagement.kind


def _milliseconds(days: float) -> int:
    return max(1, round(days * DAY))


def load_policy(path: Path | None) -> LabelPolicy:
    """Read a policy from a YAML file; the built-in one where ``path`` is ``None``.

    Raises
    ------
    PolicyError
        The file cannot be read or says something that is no policy.
    """
    if path is None:
        return LabelPolicy()
    try:
        content = yaml.safe_load(path.read_bytes())
    # YAML itself passes on the ValueError of a date that does not exist.
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PolicyError(f"the label policy {path} cannot be read: {error}") from error
    try:
        return LabelPolicy.model_validate({} if content is None else content)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in detail["loc"]) or "the policy"
        raise PolicyError(f"the label policy {path} is wrong at {place}: {detail['msg']}") from error
