"""The life of one application, from its first label to its last."""

from typing import Any

import builders
import msgspec
import pytest
from builders import DAY, START
from msgspec import structs

from stream_qa.errors import ConflictingDuplicateError, OrphanEngagementError
from stream_qa.events import Record
from stream_qa.labels import LabelPolicy, LifeCycle, Verdict
from stream_qa.labels.life_cycle import MAX_ENGAGEMENTS, MAX_WAITING_BYTES, KnownApplication, KnownEngagement
from stream_qa.labels.record import pack, unpack

POLICY = LabelPolicy()
WINDOW = 14 * DAY
CLOSES_AT = START + WINDOW

OPEN = Verdict(value=None, weight=0.0, final=False, reason="opened", happened_at=START)
SILENCE = Verdict(value=0, weight=1.0, final=True, reason="window-closed", happened_at=CLOSES_AT)


def application(**fields: Any) -> KnownApplication:  # noqa: ANN401 # as the builder takes them
    return KnownApplication.of(builders.read_application(builders.application(**fields)))


def engagement(kind: str = "message", **fields: Any) -> KnownEngagement:  # noqa: ANN401 # as the builder takes them
    return KnownEngagement.of(builders.read_engagement(builders.engagement(kind, **fields)))


def record_of(early: KnownEngagement, offset: int = 0, *, partition: int = 0) -> Record:
    return Record("engagements", partition, offset, early.job_id.encode(), msgspec.json.encode(early))


def opened(*engagements: KnownEngagement) -> LifeCycle:
    """Return the life cycle of the default application with its first label, and engagements not yet judged."""
    life_cycle = LifeCycle()
    assert life_cycle.apply(application(), POLICY)
    assert life_cycle.open() == OPEN
    for each in engagements:
        assert life_cycle.engage(each, POLICY)
    return life_cycle


def positive(happened_at: int, reason: str = "explicit:message") -> Verdict:
    return Verdict(value=1, weight=1.0, final=True, reason=reason, happened_at=happened_at)


def negative(happened_at: int, *, final: bool, reason: str = "explicit:rejection") -> Verdict:
    return Verdict(value=0, weight=1.0, final=final, reason=reason, happened_at=happened_at)


def wait(life_cycle: LifeCycle, early: KnownEngagement, policy: LabelPolicy = POLICY) -> bool:
    return life_cycle.wait(early, record_of(early), policy)


# In time.


def test_an_application_opens_at_once_with_no_value_and_no_weight() -> None:
    life_cycle = opened()
    assert life_cycle.revision == 1
    assert life_cycle.verdict == OPEN


def test_nothing_new_is_said_while_nothing_happens() -> None:
    life_cycle = opened()
    assert life_cycle.step(START, POLICY) is None
    assert life_cycle.step(CLOSES_AT - 1, POLICY) is None
    assert life_cycle.revision == 1


def test_silence_is_a_final_negative_at_exactly_14_days() -> None:
    life_cycle = opened()
    assert life_cycle.step(CLOSES_AT, POLICY) == SILENCE
    assert life_cycle.revision == 2
    assert life_cycle.step(CLOSES_AT + DAY, POLICY) is None


def test_a_positive_engagement_is_a_final_positive_at_once() -> None:
    life_cycle = opened(engagement("message", engaged_at=START + DAY))
    assert life_cycle.step(START + DAY, POLICY) == positive(START + DAY)
    assert life_cycle.step(CLOSES_AT, POLICY) is None
    assert life_cycle.revision == 2


def test_a_rejection_counts_at_once_and_is_final_at_the_end_of_the_window() -> None:
    life_cycle = opened(engagement("rejection", engaged_at=START + DAY))
    assert life_cycle.step(START + DAY, POLICY) == negative(START + DAY, final=False)
    assert life_cycle.step(CLOSES_AT - 1, POLICY) is None
    assert life_cycle.step(CLOSES_AT, POLICY) == negative(CLOSES_AT, final=True)
    assert life_cycle.revision == 3


def test_a_positive_engagement_after_a_rejection_turns_the_label() -> None:
    life_cycle = opened(engagement("rejection", engaged_at=START + DAY))
    life_cycle.step(START + DAY, POLICY)
    life_cycle.engage(engagement("message", engaged_at=START + 2 * DAY), POLICY)
    assert life_cycle.step(START + 2 * DAY, POLICY) == positive(START + 2 * DAY)


def test_a_rejection_after_a_positive_engagement_changes_nothing() -> None:
    life_cycle = opened(engagement("message", engaged_at=START + DAY))
    life_cycle.step(START + DAY, POLICY)
    assert life_cycle.engage(engagement("rejection", engaged_at=START + 2 * DAY), POLICY)
    assert life_cycle.step(START + 2 * DAY, POLICY) is None
    assert life_cycle.step(CLOSES_AT, POLICY) is None


def test_an_earlier_positive_engagement_that_comes_second_is_the_reason() -> None:
    life_cycle = opened(engagement("message", engaged_at=START + 2 * DAY))
    life_cycle.step(START + 2 * DAY, POLICY)
    life_cycle.engage(engagement("profile_view", engaged_at=START + DAY), POLICY)
    assert life_cycle.step(START + 2 * DAY, POLICY) == positive(START + DAY, "explicit:profile_view")


def test_a_neutral_engagement_says_nothing() -> None:
    life_cycle = opened(engagement("note", engaged_at=START + DAY))
    assert life_cycle.step(START + DAY, POLICY) is None
    assert life_cycle.step(CLOSES_AT, POLICY) == SILENCE


# The end of the window.


def test_an_engagement_at_exactly_14_days_is_too_late() -> None:
    life_cycle = opened(engagement("message", engaged_at=CLOSES_AT))
    assert life_cycle.step(CLOSES_AT, POLICY) == SILENCE


def test_an_engagement_a_millisecond_before_14_days_is_in_time() -> None:
    life_cycle = opened(engagement("message", engaged_at=CLOSES_AT - 1))
    assert life_cycle.step(CLOSES_AT - 1, POLICY) == positive(CLOSES_AT - 1)


def test_a_late_positive_engagement_revises_the_final_negative() -> None:
    life_cycle = opened()
    life_cycle.step(CLOSES_AT, POLICY)
    life_cycle.engage(engagement("message", engaged_at=CLOSES_AT - 1), POLICY)
    assert life_cycle.step(CLOSES_AT + DAY, POLICY) == positive(CLOSES_AT - 1, "late-engagement:message")
    assert life_cycle.revision == 3
    assert life_cycle.step(CLOSES_AT + 2 * DAY, POLICY) is None


def test_an_engagement_is_late_from_the_very_moment_at_which_the_window_has_closed() -> None:
    life_cycle = opened()
    life_cycle.step(CLOSES_AT, POLICY)
    life_cycle.engage(engagement("message", engaged_at=CLOSES_AT - 1), POLICY)
    assert life_cycle.step(CLOSES_AT, POLICY) == positive(CLOSES_AT - 1, "late-engagement:message")


def test_a_late_rejection_gives_the_final_negative_its_reason() -> None:
    life_cycle = opened()
    life_cycle.step(CLOSES_AT, POLICY)
    life_cycle.engage(engagement("rejection", engaged_at=CLOSES_AT - 1), POLICY)
    assert life_cycle.step(CLOSES_AT + DAY, POLICY) == negative(
        CLOSES_AT, final=True, reason="late-engagement:rejection"
    )


def test_a_later_one_of_two_late_engagements_changes_nothing() -> None:
    life_cycle = opened()
    life_cycle.step(CLOSES_AT, POLICY)
    life_cycle.engage(engagement("message", engaged_at=START + DAY), POLICY)
    life_cycle.step(CLOSES_AT + DAY, POLICY)
    for kind in ("offer", "rejection", "note"):
        assert life_cycle.engage(engagement(kind, engaged_at=START + 2 * DAY), POLICY)
        assert life_cycle.step(CLOSES_AT + DAY, POLICY) is None


def test_an_engagement_that_happened_after_the_window_changes_nothing() -> None:
    life_cycle = opened()
    life_cycle.step(CLOSES_AT, POLICY)
    life_cycle.engage(engagement("message", engaged_at=CLOSES_AT), POLICY)
    assert life_cycle.step(CLOSES_AT + DAY, POLICY) is None


def test_another_window_is_a_setting() -> None:
    policy = LabelPolicy(window_days=2)
    life_cycle = opened()
    assert life_cycle.step(START + 2 * DAY - 1, policy) is None
    assert life_cycle.step(START + 2 * DAY, policy) == structs.replace(SILENCE, happened_at=START + 2 * DAY)


# Repeats.


def test_a_repeated_application_changes_nothing() -> None:
    life_cycle = opened()
    before = pack(life_cycle)
    assert not life_cycle.apply(application(), POLICY)
    assert pack(life_cycle) == before


def test_a_repeat_may_write_its_numbers_in_another_way() -> None:
    life_cycle = opened()
    again = structs.replace(application(), member_features=b"[ 5e-1, -1 ]", job_features=b"[2]")
    assert not life_cycle.apply(again, POLICY)
    with pytest.raises(ConflictingDuplicateError):
        life_cycle.apply(structs.replace(again, job_features=b"[2.5]"), POLICY)


@pytest.mark.parametrize("engagement_id", [None, "engagement-1"])
def test_a_repeated_engagement_changes_nothing(engagement_id: str | None) -> None:
    life_cycle = opened(engagement(engagement_id=engagement_id))
    before = pack(life_cycle)
    assert not life_cycle.engage(engagement(engagement_id=engagement_id), POLICY)
    assert pack(life_cycle) == before


def test_another_application_under_the_same_id_is_a_conflict() -> None:
    life_cycle = opened()
    before = pack(life_cycle)
    for other in (application(member_id="member-2"), application(applied_at=START + 1), application(job_features=[3])):
        with pytest.raises(ConflictingDuplicateError):
            life_cycle.apply(other, POLICY)
    assert pack(life_cycle) == before


def test_another_engagement_under_the_same_id_is_a_conflict() -> None:
    life_cycle = opened(engagement("message", engagement_id="engagement-1"))
    before = pack(life_cycle)
    with pytest.raises(ConflictingDuplicateError):
        life_cycle.engage(engagement("rejection", engagement_id="engagement-1"), POLICY)
    assert pack(life_cycle) == before


def test_engagements_without_an_id_are_told_apart_by_their_content() -> None:
    life_cycle = opened(engagement("note", engaged_at=START + 1))
    assert life_cycle.engage(engagement("note", engaged_at=START + 2), POLICY)


# Before the application.


def test_an_engagement_before_its_application_waits_for_it() -> None:
    life_cycle = LifeCycle()
    assert wait(life_cycle, engagement("message", engaged_at=START + DAY))
    assert life_cycle.apply(application(), POLICY)
    assert life_cycle.waiting == []
    life_cycle.open()
    assert life_cycle.step(START, POLICY) == positive(START + DAY)


def test_a_repeated_engagement_waits_once() -> None:
    life_cycle = LifeCycle()
    assert wait(life_cycle, engagement())
    assert not wait(life_cycle, engagement())
    assert len(life_cycle.waiting) == 1


def test_another_waiting_engagement_under_the_same_id_is_a_conflict() -> None:
    life_cycle = LifeCycle()
    wait(life_cycle, engagement("message", engagement_id="engagement-1"))
    with pytest.raises(ConflictingDuplicateError):
        wait(life_cycle, engagement("rejection", engagement_id="engagement-1"))


def test_only_so_many_engagements_wait_for_one_application() -> None:
    policy = LabelPolicy(orphan_count=2)
    life_cycle = LifeCycle()
    for moment in (1, 2):
        assert wait(life_cycle, engagement(engaged_at=moment), policy)
    with pytest.raises(OrphanEngagementError):
        wait(life_cycle, engagement(engaged_at=3), policy)
    assert not wait(life_cycle, engagement(engaged_at=1), policy)
    assert len(life_cycle.waiting) == 2


def test_an_engagement_has_waited_too_long_at_exactly_its_days() -> None:
    policy = LabelPolicy(orphan_days=3)
    life_cycle = LifeCycle()
    wait(life_cycle, engagement(engaged_at=START), policy)
    wait(life_cycle, engagement(engaged_at=START + 1), policy)
    assert life_cycle.give_up(START + 3 * DAY - 1, policy) == []
    [orphan] = life_cycle.give_up(START + 3 * DAY, policy)
    assert orphan.engagement.engaged_at == START
    assert [waiting.engagement.engaged_at for waiting in life_cycle.waiting] == [START + 1]


def test_a_waiting_engagement_keeps_its_record_byte_for_byte() -> None:
    early = engagement()
    headers = [("trace", b"\x00\xff"), ("trace", b""), ("null", None)]
    for key, value in ((b"\xff", msgspec.json.encode(early)), (None, b' {"odd" : "\xff"}')):
        record = structs.replace(record_of(early, 17, partition=3), key=key, value=value, headers=headers)
        life_cycle = LifeCycle()
        life_cycle.wait(early, record, POLICY)
        [waiting] = unpack(pack(life_cycle)).waiting
        assert Record(*(getattr(waiting, field) for field in Record.__struct_fields__)) == record


def test_an_engagement_long_before_its_application_answers_another_one() -> None:
    """It would have been given up before the application came, had it come first: the order must not matter."""
    policy = LabelPolicy(orphan_days=3)
    long_before = engagement("message", engaged_at=START - 3 * DAY)
    just_after = engagement("message", engaged_at=START - 3 * DAY + 1)
    life_cycle = opened(long_before)
    assert life_cycle.step(START, policy) is None
    life_cycle.engage(just_after, policy)
    assert life_cycle.step(START, policy) == positive(START - 3 * DAY + 1)


# Bounds and records.


def test_what_waits_for_an_application_stays_small_enough_for_one_message_of_the_changelog() -> None:
    life_cycle = LifeCycle()
    large = b"{" + b" " * (MAX_WAITING_BYTES // 2) + b"}"
    for offset in range(2):
        early = engagement(engaged_at=START + offset)
        record = structs.replace(record_of(early, offset), value=large if offset else large[: -2 * len("job-1") - 2])
        if offset:
            with pytest.raises(OrphanEngagementError, match="too large"):
                life_cycle.wait(early, record, POLICY)
        else:
            assert life_cycle.wait(early, record, POLICY)
    assert len(pack(life_cycle)) < 1_000_000


def test_headers_count_too_of_what_waits_though_they_are_empty() -> None:
    early = engagement(engaged_at=START)
    record = structs.replace(record_of(early, 0), headers=[("", None)] * MAX_WAITING_BYTES)
    with pytest.raises(OrphanEngagementError, match="too large"):
        LifeCycle().wait(early, record, POLICY)


def test_an_application_remembers_so_many_engagements_and_always_the_deciding_one() -> None:
    deciding = engagement("message", engaged_at=START + 1)
    life_cycle = opened(deciding)
    for moment in range(2, 2 * MAX_ENGAGEMENTS):
        life_cycle.engage(engagement("rejection", engaged_at=START + moment), POLICY)
        life_cycle.engage(engagement("note", engaged_at=START + moment), POLICY)
    assert len(life_cycle.engagements) == MAX_ENGAGEMENTS
    assert deciding in life_cycle.engagements
    assert life_cycle.step(START + DAY, POLICY) == positive(START + 1)


def test_a_deciding_engagement_that_comes_after_many_others_is_remembered() -> None:
    others = (engagement("note", engaged_at=START + moment) for moment in range(MAX_ENGAGEMENTS))
    life_cycle = opened(*others)
    life_cycle.engage(engagement("message", engaged_at=START + DAY), POLICY)
    assert len(life_cycle.engagements) == MAX_ENGAGEMENTS
    assert life_cycle.step(START + DAY, POLICY) == positive(START + DAY)


def test_what_is_stored_comes_back_whole() -> None:
    life_cycle = opened(engagement("message", engagement_id="engagement-1"))
    life_cycle.step(START + DAY, POLICY)
    assert unpack(pack(life_cycle)) == life_cycle
    life_cycle = LifeCycle()
    wait(life_cycle, engagement())
    assert unpack(pack(life_cycle)) == life_cycle


def test_an_application_that_has_not_come_has_no_label() -> None:
    with pytest.raises(ValueError, match="has no label"):
        LifeCycle().open()
