"""What a worker says of drift, in its log and in its metrics."""

import logging
from collections.abc import Iterable

from stream_qa.durations import DAY
from stream_qa.learning.drift import About, DriftWatch, Finding, Seen

_log = logging.getLogger(__name__)


class DriftLog:
    """Watches what was committed, and warns of what is found: of each thing once a day."""

    def __init__(self) -> None:
        self._watch = DriftWatch()
        self._warned: dict[About, int] = {}

    def take(self, seen: Seen, now: int) -> None:
        """Take in what a chunk has, committed at ``now`` (ms)."""
        self._warn(self._watch.take(seen), now)

    def counted(self, now: int) -> DriftWatch:
        """Return what was counted until ``now`` (ms)."""
        self._warn(self._watch.count(), now)
        return self._watch

    def _warn(self, findings: Iterable[Finding], now: int) -> None:
        for finding in findings:
            if now >= self._warned.get(finding.about, 0) + DAY:
                self._warned[finding.about] = now
                _log.warning("not as it was in training: %s", finding.said)
