"""The models that are compared, by name: each scores all that was replayed, with no look-ahead but the oracle's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stream_qa.bundle import Bundle
from stream_qa.evaluation.daily_batch import daily_batch, matured_steps
from stream_qa.evaluation.evaluate import ModelScores
from stream_qa.evaluation.oracle import all_knowing, with_instant_answers
from stream_qa.evaluation.replayed import Replayed, replayed
from stream_qa.evaluation.staleness import with_both_frozen, with_jobs_frozen, with_members_frozen
from stream_qa.evaluation.trees import first_days_of_months, trees
from stream_qa.learning.arrays import Floats
from stream_qa.replay.log import LogEvent
from stream_qa.stages.pipeline import Pipeline


class ModelName(StrEnum):
    """The models."""

    PERSONALISED = "personalised"
    """The pipeline itself."""
    PUBLISHED_HOURLY = "published-hourly"
    """The pipeline, whose coefficients servers get when an hour begins."""
    PUBLISHED_DAILY = "published-daily"
    """The same, when a day begins."""
    PUBLISHED_WEEKLY = "published-weekly"
    """The same, when a week begins."""
    MEMBERS_FROZEN = "members-frozen"
    """The pipeline, whose servers get jobs when a day begins, and members as they were at the beginning for ever."""
    JOBS_FROZEN = "jobs-frozen"
    """The same with members and jobs the other way round."""
    FROZEN = "frozen"
    """The pipeline, whose servers get nothing any more."""
    GLOBAL = "global"
    """The bundle's global model alone, or what applications bring."""
    TREES_ONCE = "trees-once"
    """Gradient-boosted trees, grown on what the bundle was trained on."""
    TREES_MONTHLY = "trees-monthly"
    """The same, grown anew on the first of each month."""
    BATCH_DAILY_MATURED = "batch-daily-14-day"
    """Random effects refitted daily on final labels, once their window is over, and in use a day later."""
    BATCH_DAILY_FAST = "batch-daily-fast"
    """The same on the labels that the pipeline has when it is fitted."""
    ORACLE = "oracle"
    """The pipeline with each application's target known when it is sent."""


PUBLISHED = frozenset(
    {
        ModelName.PUBLISHED_HOURLY,
        ModelName.PUBLISHED_DAILY,
        ModelName.PUBLISHED_WEEKLY,
        ModelName.MEMBERS_FROZEN,
        ModelName.JOBS_FROZEN,
        ModelName.FROZEN,
    }
)
TREES = frozenset({ModelName.TREES_ONCE, ModelName.TREES_MONTHLY})


@dataclass(frozen=True)
class Ground:
    """What models are made from."""

    events: Sequence[LogEvent]
    pipeline: Pipeline
    bundle: Bundle
    rows: Replayed
    target: Floats
    """Of all ``n`` rows, shape ``(n,)``; NaN where it is not known."""
    since: int
    until: int
    longest: int
    """The most event time (ms) that the stages take at once."""


def model_scores(name: ModelName, ground: Ground) -> ModelScores:
    """Return the scores of a model.

    Parameters
    ----------
    name
        Which.
    ground
        What it is made from.

    Raises
    ------
    MissingExtraError
        Trees need a library that is not installed.
    """
    rows, window = ground.rows, ground.pipeline.label.policy.window
    if name in _FROM_REPLAY:
        return _FROM_REPLAY[name](rows)
    match name:
        case ModelName.BATCH_DAILY_MATURED:
            return daily_batch(rows, matured_steps(rows, window), ground.bundle, ground.since)
        case ModelName.BATCH_DAILY_FAST:
            return daily_batch(rows, rows.steps, ground.bundle, ground.since)
        case ModelName.ORACLE:
            return _oracle(ground)
        case _:
            moments = [ground.bundle.manifest.description.until]
            if name is ModelName.TREES_MONTHLY:
                moments += first_days_of_months(moments[0], ground.until)
            scores = trees(rows, moments, window)
            return ModelScores(scores, scores)


# What the replay has said of every row. A day begins with an hour, so hourly and daily are the same then.
_FROM_REPLAY: dict[ModelName, Callable[[Replayed], ModelScores]] = {
    ModelName.PERSONALISED: lambda rows: ModelScores(rows.log_odds, rows.published.daily),
    ModelName.PUBLISHED_HOURLY: lambda rows: ModelScores(rows.published.hourly, rows.published.daily),
    ModelName.PUBLISHED_DAILY: lambda rows: ModelScores(rows.published.daily, rows.published.daily),
    ModelName.PUBLISHED_WEEKLY: lambda rows: ModelScores(rows.published.weekly, rows.published.weekly),
    ModelName.MEMBERS_FROZEN: lambda rows: _twice(with_members_frozen(rows)),
    ModelName.JOBS_FROZEN: lambda rows: _twice(with_jobs_frozen(rows)),
    ModelName.FROZEN: lambda rows: _twice(with_both_frozen(rows)),
    ModelName.GLOBAL: lambda rows: ModelScores(rows.global_log_odds, rows.global_log_odds),
}


def _twice(log_odds: Floats) -> ModelScores:
    return ModelScores(log_odds, log_odds)


def _oracle(ground: Ground) -> ModelScores:
    pipeline = all_knowing(ground.pipeline)
    events = with_instant_answers(ground.events, ground.rows, ground.target, pipeline.label.topics)
    told = replayed(
        events,
        pipeline=pipeline,
        bundle=ground.bundle,
        since=ground.since,
        until=ground.until,
        longest=ground.longest,
    )
    return ModelScores(told.log_odds, told.published.daily)
