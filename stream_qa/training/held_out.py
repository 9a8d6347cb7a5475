"""How good a fit would have been: trained before the last weeks, tried on them."""

from collections.abc import Callable

import numpy as np

from stream_qa.bundle import HeldOut, Quality
from stream_qa.durations import DAY
from stream_qa.learning import LinearModel, OnnxModel
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.global_model import brought_or
from stream_qa.learning.metrics import auc, log_loss
from stream_qa.training.history import History
from stream_qa.training.joint_fit import HyperParameters, JointFit, OnnxFit, Scales, fit_jointly
from stream_qa.training.rows import Entities, Rows

_HELD_OUT = 28 * DAY
_FEWEST_ROWS = 100


def hold_out(
    history: History,
    window: int,
    parameters: HyperParameters,
    advance: Callable[[], object] = lambda: None,
    *,
    onnx_fit: OnnxFit | None = None,
    scales: Scales | None = None,
    kept: LinearModel | OnnxModel | None = None,
) -> HeldOut | None:
    """Return the quality of a fit on what was known four weeks before the last matured application was sent.

    The coefficients stand still meanwhile: it is the least that a worker reaches, which goes on learning.

    Parameters
    ----------
    history
        What is known now.
    window
        Milliseconds from an application to its final label.
    parameters
        Of the fit.
    advance
        Is called after every sweep.
    onnx_fit
        Of the fit. A model that is handed in may have seen these weeks, and looks better than it is then.
    scales
        Of the fit.
    kept
        Of the fit. It may have seen these weeks as well.

    Returns
    -------
    HeldOut or None
        ``None`` where there are too few applications before or in these weeks, or all before have the same label.
    """
    sent_until = int(history.applied_at[history.matured].max())
    since = sent_until - _HELD_OUT
    before = history.matured & (history.applied_at + window <= since)
    tried = history.matured & (history.applied_at > since)
    if min(before.sum(), tried.sum()) < _FEWEST_ROWS or len(np.unique(history.rows.value[before])) == 1:
        return None
    known, rows = history.rows.select(before), history.rows.select(tried)
    fit = fit_jointly(known, parameters, advance, onnx_fit=onnx_fit, scales=scales, kept=kept)
    by_all = brought_or(fit.global_model.score(rows.member_features, rows.job_features), rows.brought)
    return HeldOut(
        since=since,
        until=sent_until,
        applications=len(rows),
        positives=int(rows.value.sum()),
        global_only=_quality(rows, by_all),
        personalised=_quality(rows, by_all + _effects(fit, known, rows)),
    )


def _effects(fit: JointFit, known: Rows, rows: Rows) -> Floats:
    """Return both random effects' part of the scores of ``rows``, shape ``(n,)``."""
    members, jobs = _numbers(rows.members, known.members), _numbers(rows.jobs, known.jobs)
    by_member = fit.member.score(members, fit.global_model.job_features.apply(rows.job_features))
    by_job = fit.job.score(jobs, fit.global_model.member_features.apply(rows.member_features))
    return by_member + by_job


def _numbers(entities: Entities, known: Entities) -> Integers:
    """Return the number that each row's entity has among the known ones, -1 where it is new."""
    numbers = {entity_id: number for number, entity_id in enumerate(known.ids)}
    return np.array([numbers.get(entity_id, -1) for entity_id in entities.ids], np.int64)[entities.of]


def _quality(rows: Rows, log_odds: Floats) -> Quality:
    return Quality(auc=auc(rows.value, log_odds), log_loss=log_loss(rows.value, log_odds))
