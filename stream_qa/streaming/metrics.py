"""What a worker counts: decided here, a chunk and a transaction at a time, and nothing but sums is kept.

What is counted is what was committed. Of a transaction whose end is not known nothing is counted, even if the log says
later that it was committed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from stream_qa.durations import DAY
from stream_qa.errors import FencedError
from stream_qa.events import Message
from stream_qa.events.dead_letter import EXCEPTION_CLASS
from stream_qa.learning.arrays import Floats
from stream_qa.streaming.drift_log import DriftLog
from stream_qa.streaming.lane import Work

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0
_LABEL_AGES = (_MINUTE, 10 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY)
_DELAYS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, _MINUTE, 5 * _MINUTE, 30 * _MINUTE, _HOUR, 6 * _HOUR)
_EVENT_TO_DELTA = (*_DELAYS, _DAY)
#: Events that are older (ms) come from a log that is replayed: how late its deltas are says nothing of the worker.
_HISTORY = 7 * DAY
_TRANSACTIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Distribution:
    """How many values were at most so large, for some bounds.

    Parameters
    ----------
    bounds
        Ascending.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = np.array(bounds)
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self.sum = 0.0

    def add(self, values: Sequence[float] | Floats) -> None:
        """Count some values."""
        places = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self.sum += float(np.sum(values))

    def buckets(self) -> list[tuple[str, float]]:
        """Return the bounds, the last of which is infinite, and how many values were at most as large as each."""
        bounds = [*map(str, self._bounds.tolist()), "+Inf"]
        return list(zip(bounds, np.cumsum(self._counts).astype(float).tolist(), strict=True))


class Counts:
    """The sums of a worker since it was started.

    Parameters
    ----------
    dead_letters
        The topic of dead letters.
    """

    def __init__(self, dead_letters: str) -> None:
        self._dead_letters = dead_letters
        self.events: Counter[str] = Counter()
        """Records that were processed, by stage."""
        self.without_effect: Counter[str] = Counter()
        """Input that was used and changes nothing, by stage."""
        self.messages: Counter[str] = Counter()
        """Records that were written, by topic."""
        self.labels: Counter[str] = Counter()
        """Revisions of labels, by reason."""
        self.label_ages = Distribution(_LABEL_AGES)
        """Seconds of event time from an application to what its label says, of labels with a value."""
        self.drift = DriftLog()
        """How the input compares with what the model was trained on."""
        self.held_back: Counter[tuple[str, str]] = Counter()
        """Entities that were newly held back, by stage and why, and those that were released."""
        self.dead: Counter[tuple[str, str]] = Counter()
        """Dead letters, by stage and class of error."""
        self.delays: defaultdict[str, Distribution] = defaultdict(lambda: Distribution(_DELAYS))
        """Seconds from when a record came into its topic until it was processed and committed, by stage.

        Of the first record of each lane in a transaction.
        """
        self.event_to_delta: defaultdict[str, Distribution] = defaultdict(lambda: Distribution(_EVENT_TO_DELTA))
        """Seconds from the newest event in a delta until it was committed, by stage.

        Of deltas of events of the last days.
        """
        self.transaction_seconds = Distribution(_TRANSACTIONS)
        """How long transactions that were committed took."""
        self.interruptions: Counter[str] = Counter()
        """Times at which a group went back to what is committed, by class of error."""
        self.restored = 0
        """Changelog records that were read back into tables."""
        self.restoring = 0
        """Offsets of changelogs that are still to be read before their partitions are processed."""

    @property
    def fenced(self) -> int:
        """How often another worker, or a timeout, took a transactional id from this one."""
        return self.interruptions[FencedError.__name__]

    def committed(self, work: Iterable[tuple[str, Work]], written: Mapping[str, int], seconds: float, now: int) -> None:
        """Count a transaction.

        Parameters
        ----------
        work
            What it has of each lane, with the lane's stage.
        written
            How many records it has for each topic.
        seconds
            How long it took.
        now
            When it was committed (ms).
        """
        self.transaction_seconds.add([seconds])
        self.messages.update(written)
        for stage, done in work:
            self.events[stage] += done.records
            if done.since is not None:
                # The clock is another one than the broker's.
                self.delays[stage].add([max(0, now - done.since) / 1000])
            if (outcome := done.outcome) is not None:
                self.without_effect[stage] += sum(outcome.counted.values())
                self.labels.update(outcome.reasons)
                self.held_back.update((stage, why) for _, why in outcome.held_back)
                self.label_ages.add([age / 1000 for age in outcome.ages])
                for happened_at in outcome.delta_times:
                    ages = now - happened_at
                    # A producer's clock may be ahead.
                    self.event_to_delta[stage].add(np.maximum(ages[ages <= _HISTORY], 0) / 1000)
                for seen in outcome.seen:
                    self.drift.take(seen, now)
            if self._dead_letters in written:
                dead = [message for message in done.messages if message.topic == self._dead_letters]
                self.dead.update((stage, _error(message)) for message in dead)

    def interrupted(self, error: Exception) -> None:
        """Count that a group goes back to what is committed."""
        self.interruptions[type(error).__name__] += 1


def _error(message: Message) -> str:
    """Return the class of the error of a dead letter, without its module."""
    # That of one that failed before, too, comes first.
    (*_, name) = (value for header, value in message.headers if header == EXCEPTION_CLASS)
    return (name or b"").decode().rpartition(".")[2]
