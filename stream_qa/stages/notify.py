"""The notify stage: scores in, notifications out; a bounded number per job and day of event time, none twice."""

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from stream_qa.durations import DAY
from stream_qa.errors import RejectedError, StateFormatError
from stream_qa.events import Message, SourceRecord, TopicNames, WireDecoder, dead_letter, wire
from stream_qa.products import NotificationPolicy, explanation, is_very_high
from stream_qa.stages.state import Outcome, StateReader

#: The newest day, and one far ahead of it, or the first of all, that nothing else has confirmed; 0 where there is none.
_CLOCK = b"clock"
_CLOCK_FORM = struct.Struct(">qq")
_SENT = b"sent/"
_DAY_FORM = struct.Struct(">q")
#: Days for which a job's notifications are remembered; what comes later is no news. Scores of one job come by way of
#: all members' partitions, of which one may be days of event time behind another in a replay.
_DAYS_KEPT = 14
#: One score this far ahead may be a clock gone wrong; a second one is believed.
_DAYS_AHEAD = 30


@dataclass(frozen=True)
class NotifyStage:
    """Tells of very high matches.

    Parameters
    ----------
    topics
        Where it writes.
    policy
        What is worth a notification.
    scores
        Reads the scores.
    """

    topics: TopicNames
    policy: NotificationPolicy
    scores: WireDecoder[wire.Score]
    name = "notify"

    def process(self, records: Sequence[SourceRecord], state: StateReader) -> Outcome:
        """Return what a chunk of one partition, in log order, changes and sends.

        Raises
        ------
        StateFormatError
            The table was written in another format.
        """
        messages: list[Message] = []
        counted: Counter[str] = Counter()
        very_high: list[wire.Score] = []
        (clock,) = state.get_many([_CLOCK])
        before = newest, ahead = _unpack_clock(clock)
        days: list[int] = []
        for record, score in zip(records, self.scores.decode(record.value for record in records), strict=True):
            if isinstance(score, RejectedError):
                messages.append(dead_letter(self.topics.dead_letters, self.name, record, score))
                continue
            newest, ahead = _moved(newest, ahead, score.applied_at // DAY)
            if is_very_high(score, self.policy):
                very_high.append(score)
                days.append(newest)
        keys = [_key(score) for score in very_high]
        sent = dict(zip(keys, map(_unpack, state.get_many(keys)), strict=True))
        changed: dict[bytes, bytes | None] = {}
        for key, score, reached in zip(keys, very_high, days, strict=True):
            if score.applied_at // DAY <= reached - _DAYS_KEPT:
                counted["a match that is no news any more"] += 1
            elif score.application_id not in sent[key] and len(sent[key]) < self.policy.per_job_and_day:
                sent[key].append(score.application_id)
                changed[key] = orjson.dumps(sent[key])
                messages.append(self._notification(score, len(sent[key])))
            else:
                counted["a match beyond those of its job and day"] += 1
        if (newest, ahead) != before:
            changed[_CLOCK] = _CLOCK_FORM.pack(newest, ahead)
        if newest != before[0]:
            # Days before 1970 have no place in the order of the keys.
            end = _SENT + _DAY_FORM.pack(max(0, newest - _DAYS_KEPT + 1))
            over = [key for key, _ in state.scan(_SENT, end)] + [key for key in changed if _SENT <= key < end]
            changed.update(dict.fromkeys(over))
        return Outcome(changed, messages, counted=counted)

    def _notification(self, score: wire.Score, number: int) -> Message:
        notification = wire.Notification(
            score.application_id,
            score.member_id,
            score.job_id,
            score.applied_at,
            score.probability,
            score.global_log_odds,
            score.member_log_odds,
            score.job_log_odds,
            score.model_version,
            number,
            explanation(score),
        )
        return Message(self.topics.notifications, score.job_id.encode(), wire.encode(notification))


def _moved(newest: int, ahead: int, day: int) -> tuple[int, int]:
    """Return the newest day, and the unconfirmed one, after a score of ``day``."""
    if day <= newest:
        return newest, ahead
    if not newest:
        if not ahead:
            return 0, day  # The first score: nothing says yet whether it is far ahead.
        newest, day, ahead = min(day, ahead), max(day, ahead), 0
    if day > newest + _DAYS_AHEAD and not ahead:
        return newest, day
    return (min(day, ahead) if ahead > newest else day), 0


def _unpack_clock(record: bytes | None) -> tuple[int, int]:
    if record is None:
        return 0, 0
    if len(record) != _CLOCK_FORM.size:
        raise StateFormatError(f"a clock of {len(record)} bytes is of another version of stream_qa")
    newest, ahead = _CLOCK_FORM.unpack(record)
    return newest, ahead


def _key(score: wire.Score) -> bytes:
    return _SENT + _DAY_FORM.pack(score.applied_at // DAY) + score.job_id.encode()


def _unpack(record: bytes | None) -> list[str]:
    """Return the applications that were told of."""
    return [] if record is None else list(orjson.loads(record))
