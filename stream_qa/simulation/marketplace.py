"""The marketplace: who is there, who applies to what, and what comes of it.

::

    log-odds = global(x_m, x_j) + w_m(t) · [1, x_j] + w_j(t) · [1, x_m]

All of it is a function of the configuration and the generator: no clock, no global randomness.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stream_qa.durations import DAY
from stream_qa.errors import ConfigurationError
from stream_qa.events.fields import MAX_EVENT_TIME, MAX_FEATURES
from stream_qa.simulation.effects import drifting_log_odds
from stream_qa.simulation.event_log import EventLog
from stream_qa.simulation.population import Population, draw_applications, draw_features, vary
from stream_qa.simulation.recruiters import TAIL_DAYS, Calendar, respond

DEFAULT_START = 1_767_571_200_000
"""2026-01-05, a Monday, in milliseconds since the epoch."""

#: Short lines matter more than digits that no learner could use. The truth is computed from the rounded features.
_DECIMALS = 4
_MEMBER_DAYS = (10.0, 60.0)
_JOB_DAYS = (14.0, 56.0)
_MEMBER_SKEW = 0.4
_JOB_SKEW = 0.5
#: The features count at which the slope precisions are meant; the variance of a whole effect stays that of this count.
_REFERENCE_FEATURES = 16
_BISECTIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Marketplace:
    """What is simulated. The defaults are a small marketplace over twelve weeks.

    Raises
    ------
    ConfigurationError
        A number is out of its range.
    """

    members: int = 2_400
    """Members who are there at some time."""
    jobs: int = 1_000
    """Jobs that are open at some time; each is open for two to eight weeks."""
    days: int = 84
    """Days on which members apply; engagements go on until everything is answered."""
    applications: int = 31_700
    """Applications to draw; a few less come out where members would apply to the same job again."""
    features: int = 16
    """Features a side, without the intercept."""
    start: int = DEFAULT_START
    """First midnight, UTC, in milliseconds since the epoch."""
    positive_share: float = 0.25
    """Expected share of applications that hear back."""
    half_life_days: float = 35.0
    """After so many days an effect's correlation with its former self is one half."""
    global_variance: float = 0.45
    """Variance of the global log-odds between applications."""
    intercept_precision: float = 3.0
    """1 / variance of an effect's intercept, both sides."""
    slope_precisions: tuple[float, float] = (12.0, 20.0)
    """1 / variance of an effect's first and last slope at 16 features; in proportion at other counts."""

    def __post_init__(self) -> None:
        if min(self.members, self.jobs, self.days, self.applications) < 1:
            raise ConfigurationError("a marketplace needs at least one member, job, day and application")
        if not 1 <= self.features <= MAX_FEATURES:
            raise ConfigurationError(f"{self.features} features a side where 1 to {MAX_FEATURES} are possible")
        if not 0 <= self.start <= MAX_EVENT_TIME - (self.days + 2 * TAIL_DAYS) * DAY:
            raise ConfigurationError("the marketplace must begin after 1969 and end before the year 10000")
        if not 0 < self.positive_share < 1:
            raise ConfigurationError(f"a positive share of {self.positive_share} is not between 0 and 1")
        if min(self.half_life_days, self.intercept_precision, *self.slope_precisions) <= 0 or self.global_variance < 0:
            raise ConfigurationError("half-life and precisions must be positive, the global variance not negative")

    @property
    def precision(self) -> NDArray[np.float64]:
        """Prior precision of an effect's coefficients, shape (1 + features,), the intercept first."""
        slopes = np.geomspace(*self.slope_precisions, self.features) * (self.features / _REFERENCE_FEATURES)
        return np.concatenate(([self.intercept_precision], slopes))


def simulate(marketplace: Marketplace, generator: np.random.Generator) -> EventLog:
    """Draw a marketplace's whole history.

    Parameters
    ----------
    marketplace
        What to draw.
    generator
        The only source of randomness: the same state gives the same log.

    Raises
    ------
    ConfigurationError
        No member and no job happen to be there on the same day.
    """
    members = Population.draw(
        marketplace.members, marketplace.days, stay_days=_MEMBER_DAYS, skew=_MEMBER_SKEW, generator=generator
    )
    jobs = Population.draw(marketplace.jobs, marketplace.days, stay_days=_JOB_DAYS, skew=_JOB_SKEW, generator=generator)
    applied_at, member, job = draw_applications(
        members,
        jobs,
        start=marketplace.start,
        days=marketplace.days,
        count=marketplace.applications,
        generator=generator,
    )
    of_members = draw_features(marketplace.members, marketplace.features, generator)
    member_features = np.round(vary(of_members[member], generator), _DECIMALS)
    job_features = np.round(draw_features(marketplace.jobs, marketplace.features, generator), _DECIMALS)

    drift = partial(
        drifting_log_odds,
        precision=marketplace.precision,
        half_life=marketplace.half_life_days * DAY,
        generator=generator,
    )
    by_member = drift(member, applied_at, features=job_features[job])
    by_job = drift(job, applied_at, features=member_features)

    deviation = np.sqrt(marketplace.global_variance / (2 * marketplace.features))
    weights = generator.normal(0.0, deviation, (2, marketplace.features))
    linear = member_features @ weights[0] + (job_features @ weights[1])[job]
    intercept = _intercept(linear + by_member + by_job, marketplace.positive_share)
    by_global = np.round(intercept + linear, _DECIMALS)

    probability = _logistic(by_global + by_member + by_job)
    outcome = generator.random(probability.size) < probability
    calendar = Calendar.draw(marketplace.jobs, marketplace.start, marketplace.days, generator)
    return EventLog(
        applied_at=applied_at,
        member=member,
        job=job,
        member_features=member_features,
        job_features=job_features,
        global_log_odds=by_global,
        member_log_odds=by_member,
        job_log_odds=by_job,
        probability=probability,
        outcome=outcome,
        engagements=respond(calendar, job, applied_at, outcome, generator),
    )


def _logistic(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-log_odds))


def _intercept(log_odds: NDArray[np.float64], share: float) -> float:
    """Return what must be added to the log-odds for this mean probability: by bisection, as there is no closed form."""
    low, high = -float(log_odds.max()) - 30.0, -float(log_odds.min()) + 30.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _logistic(log_odds + middle).mean() < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2
