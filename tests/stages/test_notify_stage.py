"""The notify stage as a specification: a bounded number per job and day of event time, none twice."""

from collections import Counter
from collections.abc import Sequence

import orjson
from builders import DAY, START, as_record, score
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.events import Decoder, Message, Notification, Record, Score, SourceRecord, TopicNames, WireDecoder, wire
from stream_qa.products import NotificationPolicy
from stream_qa.stages.notify import NotifyStage
from stream_qa.stages.state import MemoryState

TOPICS = TopicNames()
STAGE = NotifyStage(
    TOPICS, NotificationPolicy(per_job_and_day=2, probability=0.8), WireDecoder(wire.Score, Decoder(Score))
)
#: Any hour of the first day.
NOON = START + DAY // 2


class Partition:
    """One partition of the stage."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.messages: list[Message] = []
        self.counted: Counter[str] = Counter()

    def read(self, *scores: Score) -> list[str]:
        """Take a chunk of scores; return whom notifications are about."""
        return self.process([as_record(each) for each in scores])

    def process(self, records: Sequence[SourceRecord]) -> list[str]:
        outcome = STAGE.process(records, self.state)
        self.state.apply(outcome.changes)
        self.messages += outcome.messages
        self.counted.update(outcome.counted)
        return [each.application_id for each in notifications(outcome.messages)]


def notifications(messages: Sequence[Message]) -> list[Notification]:
    found = Decoder(Notification).decode(message.value for message in messages if message.topic == TOPICS.notifications)
    assert all(isinstance(each, Notification) for each in found)
    return [each for each in found if isinstance(each, Notification)]


def test_a_very_high_match_is_told_with_its_score_and_its_reason() -> None:
    partition = Partition()
    assert partition.read(score(), score("too-low", probability=0.5)) == ["application-1"]
    [message] = partition.messages
    assert message.key == b"job-1"
    [told] = notifications(partition.messages)
    assert (told.member_id, told.job_id, told.applied_at, told.probability) == ("member-1", "job-1", START, 0.9)
    assert (told.global_log_odds, told.member_log_odds, told.job_log_odds) == (0.0, 0.5, 1.5)
    assert (told.number, told.model_version) == (1, "none")
    assert told.explanation.startswith("An answer is 90% likely: +1.50 by what this job has answered before")


def test_a_job_hears_of_so_many_a_day_and_of_as_many_the_next() -> None:
    partition = Partition()
    today = [score(f"today-{n}", applied_at=NOON + n) for n in range(4)]
    tomorrow = [score(f"tomorrow-{n}", applied_at=NOON + DAY + n) for n in range(4)]
    assert partition.read(*today) == ["today-0", "today-1"]
    assert partition.read(*tomorrow) == ["tomorrow-0", "tomorrow-1"]
    assert [each.number for each in notifications(partition.messages)] == [1, 2, 1, 2]
    assert partition.counted == {"a match beyond those of its job and day": 4}


def test_jobs_do_not_share_their_number() -> None:
    partition = Partition()
    assert partition.read(*(score(f"to-{n}", job_id=f"job-{n % 2}") for n in range(4))) == [f"to-{n}" for n in range(4)]


def test_no_application_is_told_of_twice() -> None:
    partition = Partition()
    assert partition.read(score(), score()) == ["application-1"]
    assert partition.read(score()) == []


def test_the_day_is_that_of_the_application_in_utc() -> None:
    partition = Partition()
    midnight = START - START % DAY + DAY
    late = [score(f"late-{n}", applied_at=midnight - 1) for n in range(3)]
    early = [score(f"early-{n}", applied_at=midnight) for n in range(3)]
    assert partition.read(*late, *early) == ["late-0", "late-1", "early-0", "early-1"]


def test_what_comes_days_later_is_no_news_and_what_was_sent_is_forgotten_with_its_day() -> None:
    partition = Partition()
    partition.read(score("first", applied_at=NOON))
    days_later = score("days-later", applied_at=NOON + 13 * DAY)
    assert partition.read(days_later, score("late", applied_at=NOON)) == ["days-later", "late"]
    assert partition.read(score("now", applied_at=NOON + 14 * DAY), score("too-late", applied_at=NOON)) == ["now"]
    assert partition.counted == {"a match that is no news any more": 1}
    assert len(list(partition.state.scan(b"sent/", b"sent0"))) == 2


def test_a_log_may_begin_in_1970() -> None:
    partition = Partition()
    told = [partition.read(score(f"application-{n}", applied_at=DAY + n)) for n in range(3)]
    assert told == [["application-0"], ["application-1"], []]


def test_one_clock_in_the_future_silences_nobody() -> None:
    partition = Partition()
    partition.read(score("first", applied_at=NOON), score("lost", applied_at=NOON + 3_000 * DAY))
    assert partition.read(score("second", applied_at=NOON)) == ["second"]


def test_a_clock_in_the_future_silences_nobody_where_its_score_is_the_first() -> None:
    partition = Partition()
    assert partition.read(score("first", applied_at=NOON + 365 * DAY)) == ["first"]
    told = [partition.read(score(f"today-{n}", applied_at=NOON + n)) for n in range(2)]
    assert told == [["today-0"], ["today-1"]]
    assert partition.read(score("tomorrow", applied_at=NOON + DAY)) == ["tomorrow"]
    assert partition.read(score("in two weeks", applied_at=NOON + 14 * DAY)) == ["in two weeks"]
    assert partition.read(score("too-late", applied_at=NOON)) == []


def test_after_a_long_silence_the_second_score_is_believed() -> None:
    partition = Partition()
    partition.read(score("first", applied_at=NOON))
    months = [score(f"later-{n}", applied_at=NOON + (90 + n) * DAY) for n in range(2)]
    partition.read(*months)
    assert partition.read(score("too-late", applied_at=NOON)) == []


def test_what_is_no_score_is_a_dead_letter() -> None:
    partition = Partition()
    assert partition.process([Record(TOPICS.scores, 0, 0, b"job-1", b"{}"), as_record(score(), 1)]) == ["application-1"]
    assert [message.topic for message in partition.messages] == [TOPICS.dead_letters, TOPICS.notifications]
    assert partition.messages[0].value == b"{}"


SCORES = st.builds(
    score,
    st.sampled_from([f"application-{n}" for n in range(12)]),
    job_id=st.sampled_from(["job-1", "job-2"]),
    applied_at=st.sampled_from([NOON + n * DAY for n in (0, 0, 1, 1, 2, 13, 14, 15, 60, 61)]),
    probability=st.sampled_from([0.5, 0.9, 0.95]),
)


@given(st.lists(SCORES, max_size=40), st.data())
def test_however_the_log_is_cut_into_chunks_the_notifications_and_the_state_are_the_same(
    scores: list[Score], data: st.DataObject
) -> None:
    whole, cut = Partition(), Partition()
    whole.read(*scores)
    remaining = scores
    while remaining:
        size = data.draw(st.integers(1, len(remaining)))
        cut.read(*remaining[:size])
        remaining = remaining[size:]
    assert cut.messages == whole.messages
    assert list(cut.state.scan(b"", b"\xff")) == list(whole.state.scan(b"", b"\xff"))
    sent = [orjson.loads(message.value or b"") for message in whole.messages]
    by_day = Counter((each["job_id"], each["applied_at"] // DAY) for each in sent)
    assert all(count <= 2 for count in by_day.values())
    assert len({(each["application_id"], each["job_id"], each["applied_at"] // DAY) for each in sent}) == len(sent)
