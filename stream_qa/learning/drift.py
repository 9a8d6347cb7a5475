"""Whether later data still look like those of the training, judged when there are enough of them.

What is judged is distances between distributions, Kolmogorov and Smirnov's, and shares; not whether a difference could
be chance. Applications of one member or job are alike, so a test for independent draws would always find something.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from stream_qa.durations import HOUR
from stream_qa.events import wire
from stream_qa.learning.arrays import Floats
from stream_qa.learning.profile import (
    AnswerSample,
    FeatureSample,
    LabelSample,
    Profile,
    SideProfile,
    SideSample,
)

SideName = Literal["member", "job"]

APPLICATIONS = 2_000
"""Features are judged by so many or more."""
LABELS = 2_000
"""The share of positives is judged by so many or more."""
ANSWERS = 1_000
"""How soon positives are answered is judged by so many or more."""
MOST_OUTSIDE = 0.03
"""A larger share of a feature's values is not to be outside of the training's range."""
MOST_MOVED = 0.35
"""A feature's distribution is not to be further from the training's."""
MOST_MOVED_CONSTANT = 0.05
"""Nor that of one which has become the same for all."""
MOST_POSITIVES = 0.15
"""The share of positives is not to be further from the training's."""
MOST_DELAYED = 0.2
"""The distribution of the time to the first answer is not to be further from the training's."""
AT_ONCE = 500
"""So many applications and labels, or more, are counted at once: chunk by chunk would take several times as long."""


class Feature(NamedTuple):
    """One feature of one side."""

    side: SideName
    name: str


About = Feature | Literal["positives", "answers"]
"""What is judged: a feature, the share of positives, how soon they are answered."""


class Finding(NamedTuple):
    """Something that is no longer as it was in training."""

    about: About
    said: str
    """What is different, in a sentence."""


class Seen(NamedTuple):
    """What a chunk has that can be compared with the training's data, as it is: it is counted many chunks at a time."""

    model_number: int
    """Of the model by which it was scored."""
    profile: Profile
    """Of that model's training."""
    member_features: Sequence[bytes]
    """Of new applications, raw, as JSON text."""
    job_features: Sequence[bytes]
    """Of the same."""
    values: Sequence[int]
    """Labels, 0 or 1, of applications whose window closes."""
    answered_after: Sequence[int]
    """Of the positives among these, the time (ms) from the application to the first answer."""


@dataclass
class Distances:
    """How far data are from those of the training, as they were judged last."""

    features: dict[Feature, float] = field(default_factory=dict)
    """Of each feature's distribution, within [0, 1]."""
    positives: float | None = None
    """Of the share of positives: below 0 where there are fewer. ``None`` before there are enough, as with the next."""
    answers: float | None = None
    """Of the distribution of the time to the first answer of positives, within [0, 1]."""
    too_far: dict[About, bool] = field(default_factory=dict)
    """Which of these are further than they should be."""


class DriftWatch:
    """Counts what is seen, and judges it when there is enough: what was scored by the newest model."""

    def __init__(self) -> None:
        self.applications = 0
        """Whose features were compared with those of the training."""
        self.outside: Counter[Feature] = Counter()
        """Values outside of the training's range."""
        self.closed: Counter[str] = Counter()
        """Applications whose window has closed, by what their label says: positive or negative."""
        self.distances = Distances()
        self._model_number = -1
        self._waiting: list[Seen] = []
        self._held = 0
        self._features: FeatureSample | None = None
        self._labels: LabelSample | None = None
        self._answers: AnswerSample | None = None

    def take(self, seen: Seen) -> list[Finding]:
        """Take in what a chunk has; return what is found with it."""
        if seen.model_number < self._model_number:
            # While a new model comes, some partitions still score by the one before.
            return []
        found: list[Finding] = []
        if seen.model_number > self._model_number:
            found += self.count()
            self._model_number, self.distances = seen.model_number, Distances()
            self._features = self._labels = self._answers = None
        self._waiting.append(seen)
        self._held += len(seen.member_features) + len(seen.values)
        return found + self.count() if self._held >= AT_ONCE else found

    def count(self) -> list[Finding]:
        """Count what waits; return what is found with it."""
        if not self._waiting:
            return []
        profile, waiting = self._waiting[-1].profile, self._waiting
        self._waiting, self._held = [], 0
        features = profile.features(
            _matrix([text for seen in waiting for text in seen.member_features], len(profile.member.names)),
            _matrix([text for seen in waiting for text in seen.job_features], len(profile.job.names)),
        )
        values = [value for seen in waiting for value in seen.values]
        after = [after for seen in waiting for after in seen.answered_after]
        labels, answers = LabelSample(len(values), sum(values)), profile.answers(np.array(after, np.int64))
        self._add_up(profile, features, labels)
        return self._judge_all(profile, features, labels, answers)

    def _add_up(self, profile: Profile, features: FeatureSample, labels: LabelSample) -> None:
        self.applications += features.applications
        for side, then, now in _sides(profile, features):
            for name, outside in zip(then.names, now.outside.tolist(), strict=True):
                self.outside[Feature(side, name)] += outside
        self.closed["positive"] += labels.positives
        self.closed["negative"] += labels.labels - labels.positives

    def _judge_all(
        self, profile: Profile, features: FeatureSample, labels: LabelSample, answers: AnswerSample
    ) -> list[Finding]:
        """Judge what there is enough of, with these; keep the rest for later."""
        found: list[Finding] = []
        self._features = features if self._features is None else self._features.plus(features)
        if self._features.applications >= APPLICATIONS:
            found += self._judge_features(profile, self._features)
            self._features = None
        self._labels = labels if self._labels is None else self._labels.plus(labels)
        if self._labels.labels >= LABELS:
            found += self._judge_labels(profile, self._labels)
            self._labels = None
        self._answers = answers if self._answers is None else self._answers.plus(answers)
        if self._answers.answers >= ANSWERS and len(profile.ages):
            found += self._judge_answers(profile, self._answers)
            self._answers = None
        return found

    def _judge(self, about: About, said: str, *, is_too_far: bool) -> list[Finding]:
        self.distances.too_far[about] = is_too_far
        return [Finding(about, said)] if is_too_far else []

    def _judge_features(self, profile: Profile, sample: FeatureSample) -> list[Finding]:
        found: list[Finding] = []
        for side, then, now in _sides(profile, sample):
            outside = now.outside / sample.applications
            moved = now.up_to / sample.applications - then.up_to
            for number, name in enumerate(then.names):
                feature = Feature(side, name)
                distance = self.distances.features[feature] = float(np.abs(moved[number]).max(initial=0.0))
                most_moved = MOST_MOVED_CONSTANT if now.least[number] == now.most[number] else MOST_MOVED
                said = (
                    f"feature {name!r} of the {side}: {now.least[number]:g} to {now.most[number]:g}, in training "
                    f"{then.least[number]:g} to {then.most[number]:g}; {outside[number]:.0%} are outside of that, and "
                    f"the two distributions are {distance:.2f} apart"
                )
                is_too_far = bool(outside[number] > MOST_OUTSIDE) or distance > most_moved
                found += self._judge(feature, said, is_too_far=is_too_far)
        return found

    def _judge_labels(self, profile: Profile, sample: LabelSample) -> list[Finding]:
        share, then = sample.positives / sample.labels, profile.positive_share
        self.distances.positives = share - then
        said = f"{share:.0%} of the applications whose window closes are positive, in training {then:.0%}"
        return self._judge("positives", said, is_too_far=abs(share - then) > MOST_POSITIVES)

    def _judge_answers(self, profile: Profile, sample: AnswerSample) -> list[Finding]:
        moved = sample.answered / sample.answers - profile.answered
        furthest = int(np.abs(moved).argmax())
        distance = self.distances.answers = float(abs(moved[furthest]))
        then, hours = profile.answered[furthest], profile.ages[furthest] / HOUR
        said = (
            f"{then + moved[furthest]:.0%} of positives are answered within {hours:.1f} hours, in training {then:.0%}"
        )
        return self._judge("answers", said, is_too_far=distance > MOST_DELAYED)


def _sides(profile: Profile, sample: FeatureSample) -> list[tuple[SideName, SideProfile, SideSample]]:
    return [("member", profile.member, sample.member), ("job", profile.job, sample.job)]


def _matrix(texts: Sequence[bytes], width: int) -> Floats:
    return np.array(wire.vectors(texts), np.float64).reshape(len(texts), width)
