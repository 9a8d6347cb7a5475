"""Top applicant: where a member stands among the applicants of a job."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stream_qa.learning.arrays import Booleans, Floats, Integers

#: What a product of a share and a count may be off by.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TopPolicy:
    """Who is a top applicant."""

    share: float = 0.1
    """Of all applicants, so many may be."""
    least_applicants: int = 10
    """Among fewer nobody is, and nobody has a percentile."""


class Standings(NamedTuple):
    """Where each of ``n`` applicants stands, arrays of shape ``(n,)``."""

    rank: Integers
    """1 for the best; applicants with equal scores share the best of their ranks."""
    tied: Integers
    """How many others have the same score."""
    percentile: Floats
    """The share of the others that are below, equal ones counting half, from 0 to 100; NaN where there are too few."""
    top: Booleans
    """Whether this applicant, all above and all that are equal are within the share: so a crowd of equals is not."""


def standings(log_odds: Floats, policy: TopPolicy) -> Standings:
    """Return where applicants stand whose scores are ``log_odds``, shape ``(n,)``, the higher the better."""
    count = len(log_odds)
    rising = np.sort(log_odds)
    below = np.searchsorted(rising, log_odds, "left")
    not_above = np.searchsorted(rising, log_odds, "right")
    tied = not_above - below - 1
    enough = count >= max(policy.least_applicants, 2)
    percentile = 100.0 * (below + tied / 2) / (count - 1) if enough else np.full(count, np.nan)
    top = (count - below <= policy.share * count + _ROUNDING) & enough
    return Standings(1 + count - not_above, tied, percentile, top)
