"""Recruiters work in sessions: on working days, in working hours, several applications of a job in one go.

An application is not answered after a random time but in one of the sessions that follow it, so silence means little
while the recruiter is away and more with every session that passed it over.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_qa.durations import DAY, HOUR, MINUTE
from stream_qa.simulation.population import is_weekend

KINDS = ("profile_view", "message", "interview", "offer", "rejected")
"""Engagement kinds, by number."""

TAIL_DAYS = 120
"""Recruiters go on for so long after the last application, so that all get their answer."""

_PROFILE_VIEW, _MESSAGE, _INTERVIEW, _OFFER, _REJECTED = range(len(KINDS))
_SESSION = HOUR
_FIRST_BEGIN, _LAST_BEGIN = 8 * HOUR, 17 * HOUR
#: Share of the working days on which a job gets a session: some recruiters look in daily, some once or twice a week.
_DILIGENCE = (0.35, 1.0)
#: Chance that a session gets to a waiting application, if it is to be accepted and if it is to be rejected.
_ACCEPTED_IN_SESSION = 0.62
_REJECTED_IN_SESSION = 0.45

_REJECTED_SHARE = 1 / 3
_VIEWED_SHARE = 0.35
_ONLY_VIEWED_SHARE = 0.1
_MESSAGE_NEXT_SESSION_SHARE = 0.5
_INTERVIEW_SHARE = 0.45
_OFFER_SHARE = 0.3
_INTERVIEW_DAYS = (1.0, 7.0)
_OFFER_DAYS = (2.0, 10.0)


@dataclass(frozen=True, slots=True)
class Calendar:
    """All sessions of all jobs."""

    start: int
    """Midnight of the first day, ms."""
    span: int
    """Milliseconds from the first day to the end of the last."""
    begins: NDArray[np.int64]
    """``job * span`` plus milliseconds since the start, ascending, shape (sessions,): one sorted array for all jobs."""
    ends: NDArray[np.int64]
    """For each job, the index after its last session, shape (jobs,)."""

    @classmethod
    def draw(cls, jobs: int, start: int, days: int, generator: np.random.Generator) -> "Calendar":
        """Draw the sessions of ``jobs`` jobs over ``days`` days from ``start`` (ms, a midnight) and the tail."""
        days += TAIL_DAYS
        diligence = generator.uniform(*_DILIGENCE, (jobs, 1))
        works = (generator.random((jobs, days)) < diligence) & ~is_weekend(start, days)
        job, day = np.nonzero(works)
        time_of_day = generator.integers(_FIRST_BEGIN, _LAST_BEGIN, job.size)
        span = days * DAY
        return cls(start, span, job * span + day * DAY + time_of_day, np.cumsum(works.sum(axis=1)))

    def answer(
        self,
        job: NDArray[np.int64],
        after: NDArray[np.int64],
        passed_over: NDArray[np.int64],
        generator: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Return a moment in a session of the job that begins later than ``after``, in ms, shape (rows,).

        Parameters
        ----------
        job
            Numbers of the jobs, shape (rows,).
        after
            Milliseconds, shape (rows,).
        passed_over
            How many sessions go by before the one that answers, shape (rows,).
        generator
            Source of randomness.
        """
        since_start = np.minimum(after - self.start, self.span - 1)
        session = np.searchsorted(self.begins, job * self.span + since_start, side="right") + passed_over
        # Past the calendar's end, which the tail makes all but impossible, the last session answers.
        begin = self.begins[np.clip(session, 0, self.ends[job] - 1)] - job * self.span + self.start
        answered_at: NDArray[np.int64] = begin + generator.integers(0, _SESSION, job.size)
        late = answered_at <= after
        answered_at[late] = after[late] + MINUTE
        return answered_at


@dataclass(frozen=True, slots=True)
class Engagements:
    """What the recruiters did, each array of shape (engagements,), in time order."""

    application: NDArray[np.int64]
    """Number of the application."""
    kind: NDArray[np.int64]
    """Index into ``KINDS``."""
    engaged_at: NDArray[np.int64]
    """Milliseconds since the epoch."""


def respond(
    calendar: Calendar,
    job: NDArray[np.int64],
    applied_at: NDArray[np.int64],
    outcome: NDArray[np.bool_],
    generator: np.random.Generator,
) -> Engagements:
    """Draw the engagements of all applications: every positive outcome gets at least one, no negative a positive one.

    Parameters
    ----------
    calendar
        The recruiters' sessions.
    job
        Numbers of the jobs, shape (applications,).
    applied_at
        Milliseconds since the epoch, shape (applications,).
    outcome
        Whether the application hears back, shape (applications,).
    generator
        Source of randomness.
    """

    def some(of: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
        return generator.random(of.size) < share

    def answer(of: NDArray[np.int64], after: NDArray[np.int64], chance: float | None = None) -> NDArray[np.int64]:
        passed_over = np.zeros(of.size, np.int64) if chance is None else generator.geometric(chance, of.size) - 1
        return calendar.answer(job[of], after, passed_over, generator)

    def later(moment: NDArray[np.int64], days: tuple[float, float]) -> NDArray[np.int64]:
        return moment + (generator.uniform(*days, moment.size) * DAY).astype(np.int64)

    positive, negative = np.flatnonzero(outcome), np.flatnonzero(~outcome)
    first_at = answer(positive, applied_at[positive], _ACCEPTED_IN_SESSION)
    viewed = some(positive, _VIEWED_SHARE)
    # After a view the message comes minutes later or in the next session; without one it is itself the first answer.
    soon = first_at + generator.integers(MINUTE, 10 * MINUTE, positive.size)
    next_session = answer(positive, first_at)
    message_at = np.where(viewed, np.where(some(positive, _MESSAGE_NEXT_SESSION_SHARE), next_session, soon), first_at)
    messaged = np.flatnonzero(~(viewed & some(positive, _ONLY_VIEWED_SHARE)))

    interviewed = messaged[some(messaged, _INTERVIEW_SHARE)]
    interview_at = answer(positive[interviewed], later(message_at[interviewed], _INTERVIEW_DAYS))
    offered = some(interviewed, _OFFER_SHARE)
    offer_at = answer(positive[interviewed[offered]], later(interview_at[offered], _OFFER_DAYS))

    rejected = negative[some(negative, _REJECTED_SHARE)]
    drawn = {
        _PROFILE_VIEW: (positive[viewed], first_at[viewed]),
        _MESSAGE: (positive[messaged], message_at[messaged]),
        _INTERVIEW: (positive[interviewed], interview_at),
        _OFFER: (positive[interviewed[offered]], offer_at),
        _REJECTED: (rejected, answer(rejected, applied_at[rejected], _REJECTED_IN_SESSION)),
    }
    kind = np.concatenate([np.full(of.size, kind) for kind, (of, _) in drawn.items()])
    application = np.concatenate([of for of, _ in drawn.values()])
    engaged_at = np.concatenate([moment for _, moment in drawn.values()])
    order = np.argsort(engaged_at, kind="stable")
    return Engagements(application[order], kind[order], engaged_at[order])
