"""What two generations have said and what became of it, read from their topics."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stream_qa.bundle import load_published
from stream_qa.errors import BundleError, EvaluationError, RejectedError
from stream_qa.events import Decoder, Label, PublishedModel, Score, WireDecoder, wire
from stream_qa.labels import load_policy
from stream_qa.rebuild.beginning import newest, serving
from stream_qa.rebuild.comparison import Comparison, Scores, compare
from stream_qa.settings import Settings
from stream_qa.streaming import model_topic
from stream_qa.streaming.generation_topic import Generations, read_generations
from stream_qa.streaming.topic_range import reader, records_between

_NEVER = -1

_scores_of = WireDecoder(wire.Score, Decoder(Score)).decode
_labels_of = WireDecoder(wire.Label, Decoder(Label)).decode


class Said(NamedTuple):
    """A score, without what is not needed of it."""

    job_id: str
    applied_at: int
    log_odds: float
    global_log_odds: float


class Became(NamedTuple):
    """The newest revision of a label, without what is not needed of it."""

    revision: int
    value: int | None
    final: bool
    applied_at: int
    origin: int


@dataclass
class Seen:
    """What one generation has said, by application."""

    scores: dict[str, Said] = field(default_factory=dict)
    labels: dict[str, Became] = field(default_factory=dict)
    reached: dict[int, int] = field(default_factory=dict)
    """The event time that each partition has come to (ms)."""
    refused: int = 0
    """Records that are no scores, or no labels."""

    def add_score(self, value: bytes) -> None:
        """Take in a score."""
        [score] = _scores_of([value])
        if isinstance(score, RejectedError):
            self.refused += 1
            return
        self.scores[score.application_id] = Said(score.job_id, score.applied_at, score.log_odds, score.global_log_odds)

    def add_label(self, value: bytes) -> None:
        """Take in a revision of a label."""
        [label] = _labels_of([value])
        if isinstance(label, RejectedError):
            self.refused += 1
            return
        self.reached[label.origin] = max(self.reached.get(label.origin, _NEVER), label.watermark)
        known = self.labels.get(label.application_id)
        if known is None or label.revision > known.revision:
            self.labels[label.application_id] = Became(
                label.revision, label.value, label.final, label.applied_at, label.origin
            )

    def outcome(self, application_id: str, window: int) -> int | None:
        """Return what became of an application; ``None`` before its window (ms) is over.

        An answer makes a label final at once: to take those early would be to take the answered.
        """
        label = self.labels.get(application_id)
        if label is None or not label.final or label.applied_at + window > self.reached[label.origin]:
            return None
        return label.value


async def compare_generations(
    settings: Settings, newer: int | None, older: int | None, since: int | None, until: int | None
) -> Comparison:
    """Compare two generations on the applications that both have scored and whose outcomes are known.

    Parameters
    ----------
    settings
        Of any generation; its policy has the window.
    newer
        By default the newest that does not serve.
    older
        By default the one that serves.
    since, until
        Only applications sent from then on, and before then (ms). By default since when no bundle of the two has looked
        at any outcome, and for ever.

    Raises
    ------
    GenerationError
        There is no such one.
    EvaluationError
        There is nothing to compare, or it is not known what the bundles have seen.
    TopicMissingError
        A topic is missing.
    BrokerUnavailableError
        No broker answers.
    """
    known = await read_generations(settings.kafka, settings.topics.generations)
    newer = newest(known, settings) if newer is None else newer
    older = serving(known, settings) if older is None else older
    both = [settings.model_copy(update={"generation": number}) for number in (older, newer)]
    if since is None:
        since = max([await _seen_until(known, each) for each in both])
    first, second = [await _seen(each) for each in both]
    window = load_policy(settings.policy).window
    ids, values, differing = [], [], 0
    for application_id, said in first.scores.items():
        if application_id not in second.scores or said.applied_at < since:
            continue
        if until is not None and said.applied_at >= until:
            continue
        outcomes = [each.outcome(application_id, window) for each in (first, second)]
        if outcomes[0] is None or outcomes[1] is None:
            continue
        if outcomes[0] == outcomes[1]:
            ids.append(application_id)
            values.append(outcomes[0])
        else:
            differing += 1
    _, job = np.unique([first.scores[each].job_id for each in ids], return_inverse=True)
    scores = _scores(first, ids), _scores(second, ids)
    return compare(
        (older, newer),
        scores,
        np.array(values, np.float64),
        job,
        since=since,
        differing=differing,
        refused=first.refused + second.refused,
    )


def _scores(seen: Seen, ids: Sequence[str]) -> Scores:
    said = [seen.scores[each] for each in ids]
    return Scores(np.array([each.log_odds for each in said]), np.array([each.global_log_odds for each in said]))


async def _seen_until(known: Generations, settings: Settings) -> int:
    """Return until when the bundles of a generation have looked at outcomes (ms); 0 for none."""
    begun = known.begun.get(settings.generation)
    models: list[PublishedModel] = [] if begun is None or begun.bundle is None else [begun.bundle]
    async with aclosing(model_topic.published(settings.kafka, settings.topics.models)) as published:
        models += [numbered.model for numbered in await anext(published)]
    try:
        return max((load_published(model).manifest.description.until for model in models), default=0)
    except BundleError as error:
        raise EvaluationError(f"it is not known what a bundle has seen, give --since: {error}") from error


async def _seen(settings: Settings) -> Seen:
    """Read what a generation has said until now."""
    topics = settings.topics
    seen = Seen()
    for topic, add in ((topics.scores, seen.add_score), (topics.labels, seen.add_label)):
        async with reader(settings.kafka, topic) as consumer:
            places = sorted(consumer.assignment())
            begin, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
            async with aclosing(records_between(consumer, begin, ends)) as records:
                async for record in records:
                    if record.value is not None:
                        add(record.value)
    return seen
