"""Applicant ranking: the order in which a recruiter sees the applicants of a job."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from stream_qa.learning.arrays import Floats

_BITS = 52


def ranking(log_odds: Floats, member_ids: Sequence[str], exploration: float = 0.0, seed: str = "") -> list[int]:
    """Return the positions of ``n`` applicants from the first of the list to the last.

    The order does not depend on that in which they are given: equal scores stand in the order of their ids.

    Parameters
    ----------
    log_odds
        Scores, the higher the better, shape ``(n,)``.
    member_ids
        Whose they are, ``n`` different ones.
    exploration
        0 sorts by score. Above 0 it is the temperature, in log-odds, of a draw without replacement: the first of the
        list is an applicant with a chance proportional to ``exp(log_odds / exploration)``, the next is drawn from the
        rest in the same way, and so on. So applicants whose scores are about that near may change places.
    seed
        The same seed gives the same draw, so that pages of one list fit together.

    References
    ----------
    Kool, van Hoof and Welling (2019), "Stochastic Beams and Where to Find Them": the order of scores to which Gumbel
    noise was added is such a draw.
    """
    keys = log_odds
    if exploration > 0:
        keys = log_odds + exploration * np.array([_gumbel(seed, member_id) for member_id in member_ids])
    falling = (-keys).tolist()
    return sorted(range(len(member_ids)), key=lambda position: (falling[position], member_ids[position]))


def _gumbel(seed: str, member_id: str) -> float:
    """Return a draw from the standard Gumbel distribution that is a function of its arguments."""
    text = f"{len(seed)}:{seed}{member_id}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> (64 - _BITS)
    return -math.log(-math.log((number + 0.5) / 2**_BITS))
