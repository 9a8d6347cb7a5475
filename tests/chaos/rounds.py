"""Which rounds a number of faults makes, and the table of what they have shown."""

import statistics
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from chaos.driver import Round, RoundResult
from chaos.faults import FAULTS

_MIXED = 10
"""Faults in a round of several kinds."""
_SAME_AT_LEAST = 2
"""Faults of one kind that are worth a round of their own."""
_WORKERS = (1, 2)
_GROUPS = (1, 2, 4)
_KNOWN_AGAIN_SHARE = 0.75


def plan(faults: int, seed: int) -> list[Round]:
    """Return rounds with that many faults together: half of them of one kind each, the others mixed.

    A round of one kind says which kind is to blame; mixed ones have what only follows from one after another.
    """
    random = Random(seed)  # noqa: S311 # to be repeated
    of_each = faults // (2 * len(FAULTS))
    same = [[kind] * of_each for kind in FAULTS] if of_each >= _SAME_AT_LEAST else []
    mixed: list[str] = []
    while len(mixed) < faults - sum(map(len, same)):
        mixed += random.sample(list(FAULTS), len(FAULTS))
    mixed = mixed[: faults - sum(map(len, same))]
    parts = same + [mixed[start : start + _MIXED] for start in range(0, len(mixed), _MIXED)]
    return [
        Round(
            f"round-{number}",
            random.randrange(2**32),
            kinds,
            random.choice(_WORKERS),
            known_again=random.random() < _KNOWN_AGAIN_SHARE,
            epoch_a_transaction=random.random() < 0.5,
            groups=random.choice(_GROUPS),
        )
        for number, kinds in enumerate(parts, start=1)
    ]


def table(results: Sequence[RoundResult]) -> list[dict[str, Any]]:
    """Return a row for each kind of fault: how many, what differed in the rounds with it, how soon work came back."""
    return [
        row
        for known_again in (True, False)
        for kind in FAULTS
        if (row := _row(kind, [result for result in results if result.known_again == known_again], known_again))[
            "count"
        ]
    ]


def printed(rows: Iterable[dict[str, Any]]) -> str:
    """Return the table as text."""
    lines = [f"{'fault':<60} {'count':>5} {'differences':>11} {'median, s':>9} {'slowest, s':>10}"]
    for row in rows:
        seconds = [f"{row[name]:.1f}" if row[name] is not None else "never" for name in ("median", "slowest")]
        lines.append(f"{row['fault']:<60} {row['count']:>5} {row['differences']:>11} {seconds[0]:>9} {seconds[1]:>10}")
    return "\n".join(lines)


def _row(kind: str, results: Sequence[RoundResult], known_again: bool) -> dict[str, Any]:
    faults = [fault for result in results for fault in result.faults if fault.kind == kind]
    with_it = [result for result in results if any(fault.kind == kind for fault in result.faults)]
    seconds = [fault.back_seconds for fault in faults if fault.back_seconds is not None]
    return {
        "fault": kind if known_again else f"{kind} (no instance id)",
        "count": len(faults),
        "differences": sum(len(found) for result in with_it for found in result.differences.values()),
        "median": statistics.median(seconds) if seconds else None,
        "slowest": max(seconds) if seconds and len(seconds) == len(faults) else None,
    }
