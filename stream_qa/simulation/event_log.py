"""A simulated history, as events in the order of event time and as the truth behind them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_qa.simulation.recruiters import KINDS, Engagements

_REJECTED = KINDS.index("rejected")
_NEVER = np.iinfo(np.int64).max
_TRUTH_DECIMALS = 6
#: Rows that are Python objects at one time: arrays are small, lists of floats are not.
_BLOCK = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLog:
    """What happened and why, in time order, as arrays: a million applications fit in a few hundred megabytes."""

    applied_at: NDArray[np.int64]
    """Milliseconds since the epoch, ascending, shape (applications,)."""
    member: NDArray[np.int64]
    """Number of the member, shape (applications,)."""
    job: NDArray[np.int64]
    """Number of the job, shape (applications,)."""
    member_features: NDArray[np.float64]
    """Shape (applications, features)."""
    job_features: NDArray[np.float64]
    """Shape (jobs, features): by job, as they never change."""
    global_log_odds: NDArray[np.float64]
    """Shape (applications,), as in the events."""
    member_log_odds: NDArray[np.float64]
    """Shape (applications,): the true ``w_m(t) · [1, x_j]``."""
    job_log_odds: NDArray[np.float64]
    """Shape (applications,): the true ``w_j(t) · [1, x_m]``."""
    probability: NDArray[np.float64]
    """Shape (applications,): the logistic of the three together."""
    outcome: NDArray[np.bool_]
    """Shape (applications,): whether it hears back at last, however late."""
    engagements: Engagements
    """What members hear, in time order."""

    def counts(self) -> dict[str, object]:
        """Return how many applications, engagements by kind, and positive outcomes there are."""
        by_kind = np.bincount(self.engagements.kind, minlength=len(KINDS)).tolist()
        return {
            "applications": self.applied_at.size,
            "engagements": dict(zip(KINDS, by_kind, strict=True)),
            "positives": int(self.outcome.sum()),
        }

    def events(self) -> Iterator[dict[str, object]]:
        """Yield every event as its topic's fields and ``type``, by event time, applications first at equal time."""
        applications = self._applications()
        engagements = self._engagements()
        moments = np.concatenate((self.applied_at, self.engagements.engaged_at))
        # Both parts are in time order, so a stable sort interleaves them and leaves each in its own order.
        for position in np.argsort(moments, kind="stable"):
            yield next(applications if position < self.applied_at.size else engagements)

    def truth(self) -> Iterator[dict[str, object]]:
        """Yield, by application, what only a simulation knows.

        ``outcome`` is the full outcome, whatever the delay; ``positive_at`` and ``rejected_at`` (ms or null) are the
        first engagements of their sort, from which follows what any window would have seen.
        """
        positive_at, rejected_at = self._first_engagements()
        columns = (
            self.applied_at,
            self.global_log_odds,
            np.round(self.member_log_odds, _TRUTH_DECIMALS),
            np.round(self.job_log_odds, _TRUTH_DECIMALS),
            np.round(self.probability, _TRUTH_DECIMALS),
            self.outcome.astype(np.int64),
            positive_at,
            rejected_at,
        )
        for first in range(0, self.applied_at.size, _BLOCK):
            rows = zip(*(column[first : first + _BLOCK].tolist() for column in columns), strict=True)
            for number, row in enumerate(rows, start=first):
                applied_at, by_global, by_member, by_job, probability, outcome, positive, rejected = row
                yield {
                    "application_id": _application_id(number),
                    "applied_at": applied_at,
                    "global_log_odds": by_global,
                    "member_log_odds": by_member,
                    "job_log_odds": by_job,
                    "probability": probability,
                    "outcome": outcome,
                    "positive_at": None if positive == _NEVER else positive,
                    "rejected_at": None if rejected == _NEVER else rejected,
                }

    def _first_engagements(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        positive_at, rejected_at = np.full((2, self.applied_at.size), _NEVER)
        engagements = self.engagements
        rejected = engagements.kind == _REJECTED
        np.minimum.at(positive_at, engagements.application[~rejected], engagements.engaged_at[~rejected])
        np.minimum.at(rejected_at, engagements.application[rejected], engagements.engaged_at[rejected])
        return positive_at, rejected_at

    def _applications(self) -> Iterator[dict[str, object]]:
        feature_schema = f"simulation-{self.job_features.shape[1]}"
        job_features = self.job_features.tolist()
        columns = (self.applied_at, self.member, self.job, self.member_features, self.global_log_odds)
        for first in range(0, self.applied_at.size, _BLOCK):
            rows = zip(*(column[first : first + _BLOCK].tolist() for column in columns), strict=True)
            for number, (applied_at, member, job, member_features, global_log_odds) in enumerate(rows, start=first):
                yield {
                    "type": "application",
                    "application_id": _application_id(number),
                    "member_id": f"member-{member:05}",
                    "job_id": _job_id(job),
                    "applied_at": applied_at,
                    "feature_schema": feature_schema,
                    "member_features": member_features,
                    "job_features": job_features[job],
                    "global_log_odds": global_log_odds,
                }

    def _engagements(self) -> Iterator[dict[str, object]]:
        engagements = self.engagements
        columns = (
            engagements.application,
            self.job[engagements.application],
            engagements.kind,
            engagements.engaged_at,
        )
        for first in range(0, engagements.kind.size, _BLOCK):
            rows = zip(*(column[first : first + _BLOCK].tolist() for column in columns), strict=True)
            for number, (application, job, kind, engaged_at) in enumerate(rows, start=first):
                yield {
                    "type": "engagement",
                    "engagement_id": f"engagement-{number:06}",
                    "application_id": _application_id(application),
                    "job_id": _job_id(job),
                    "kind": KINDS[kind],
                    "engaged_at": engaged_at,
                }


def _application_id(number: int) -> str:
    return f"application-{number:06}"


def _job_id(number: int) -> str:
    return f"job-{number:04}"
