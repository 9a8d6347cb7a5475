"""A candidate and the incumbent on the days held back: the events go through the real stages, with no look-ahead.

Both times the stages begin with the incumbent and learn from all that came before. Where those days begin, they take
the candidate up one time, as workers would: entities go on with what they know, by the candidate's priors and curves.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from stream_qa.bundle import Bundle
from stream_qa.durations import MINUTE
from stream_qa.evaluation.evaluate import Scored
from stream_qa.evaluation.replayed import Replayed, replayed
from stream_qa.replay.log import LogEvent
from stream_qa.retraining.gate import Trial
from stream_qa.settings import Settings
from stream_qa.stages.models import Model
from stream_qa.stages.pipeline import build_pipeline, model_of
from stream_qa.training.label_log import believing

_LONGEST = 5 * MINUTE
"""The most event time (ms) that the stages take at once, as by default in an evaluation."""


def tried(
    events: Sequence[LogEvent],
    settings: Settings,
    incumbent: Bundle | None,
    candidate: Bundle,
    *,
    since: int,
    until: int,
    advance: Callable[[int], object] = lambda _count: None,
) -> Trial:
    """Return how both score the applications sent from ``since`` and before ``until``.

    Parameters
    ----------
    events
        All that is known, in event-time order.
    settings
        Of the group.
    incumbent
        The bundle in use; ``None`` for the base rate and priors of the settings.
    candidate
        With the feature schema and scales of the incumbent.
    since, until
        Whole days (ms), of times at which applications are sent; what is known afterwards only says how they ended.
    advance
        Is told how many events were read, over both times.

    Raises
    ------
    EvaluationError
        There is no application there whose final label is known.
    ModelRefusedError
        Workers would refuse the candidate.
    """
    # Labels of the training are in the log: entities start from nothing, or they would count twice.
    alone = settings.model_copy(
        update={
            "bundle": None if incumbent is None else incumbent.directory,
            "warm_start": False,
            "notify_per_job_and_day": 0,
        }
    )

    def scored_by(newer: Model | None) -> Replayed:
        pipeline = build_pipeline(alone)
        label = replace(pipeline.label, policy=believing(pipeline.label.policy))
        return replayed(
            events,
            pipeline=replace(pipeline, label=label),
            bundle=None,
            since=since,
            until=until,
            longest=_LONGEST,
            newer=newer,
            advance=advance,
        )

    with_incumbent, with_candidate = scored_by(None), scored_by(model_of(alone, candidate, 1))
    scored = Scored.of(with_incumbent, with_incumbent.final, since)
    # Both have read the same, so the labels are the same applications'.
    of_candidate = {name: number for number, name in enumerate(with_candidate.ids)}
    rows = np.array([of_candidate[with_incumbent.ids[row]] for row in scored.rows.tolist()], np.int64)
    return Trial(scored.target, scored.job, with_incumbent.log_odds[scored.rows], with_candidate.log_odds[rows])
