"""The label stage: applications and engagements of a partition in, revisions of labels and dead letters out."""

from itertools import permutations

import orjson
import pytest
from builders import DAY, START, application, as_record, engagement
from label_partition import BASE_LOG_ODDS, LabelPartition, items, label_stage, labels_of, reasons_of
from msgspec import structs

from stream_qa.errors import PolicyChangedError, StateFormatError
from stream_qa.events import Application, Decoder, Engagement, Label, Record, Tick, wire
from stream_qa.labels import LabelPolicy
from stream_qa.labels.curves import SilenceCurves
from stream_qa.labels.event_time import APPLIED, index_key, life_cycle_key
from stream_qa.labels.policy import Silence, SilenceRule
from stream_qa.learning import AdaptiveSGD
from stream_qa.learning.entity import entity_key, entity_type, pack_many, unpack_many
from stream_qa.learning.features import FeatureSchema
from stream_qa.stages.label import Quiet
from stream_qa.stages.state import MemoryState

CLOSES_AT = START + 14 * DAY
OVER_AT = CLOSES_AT + 14 * DAY
FORGOTTEN_AT = OVER_AT + 1_095 * DAY
ALWAYS_KEPT = {b"clock", b"durations", b"feature-schema"}


def until(moment: int) -> tuple[Application, Engagement]:
    """Return events of another application and of none that move both inputs on to ``moment``."""
    return (
        application(f"clock-{moment}", applied_at=moment),
        engagement("note", application_id=f"clock-{moment}", engaged_at=moment),
    )


def steps(labels: list[Label], application_id: str = "application-1") -> list[tuple[int, str]]:
    return [(label.revision, label.reason) for label in labels if label.application_id == application_id]


def kept(partition: LabelPartition, application_id: str = "application-1") -> list[bytes]:
    """Return the keys of the table that are about an application."""
    return [key for key in items(partition.state) if key.endswith(application_id.encode())]


def remembered(partition: LabelPartition) -> bool:
    """Whether the table holds that the id was used, and until when, and nothing else about the application."""
    return sorted(kept(partition)) == [
        life_cycle_key("application-1"),
        index_key(APPLIED, START, "application-1"),
    ]


# What a label carries.


def test_a_label_is_keyed_by_member_and_carries_all_that_learning_from_it_needs() -> None:
    partition = LabelPartition()
    [message] = partition.read(as_record(application(global_log_odds=0.75)))
    assert (message.topic, message.key) == ("labels", b"member-1")
    assert partition.labels == [
        Label(
            application_id="application-1",
            member_id="member-1",
            job_id="job-1",
            revision=1,
            value=None,
            weight=0.0,
            final=False,
            reason="opened",
            happened_at=START,
            applied_at=START,
            feature_schema="two-and-one",
            member_features=[0.5, -1.0],
            job_features=[2.0],
            global_log_odds=0.75,
            job_log_odds=0.0,
            job_version=0,
            origin=0,
            watermark=0,
            global_brought=True,
        )
    ]


def test_a_label_names_the_partition_that_wrote_it() -> None:
    outcome = label_stage(LabelPolicy()).process(7, [as_record(application())], MemoryState(), MemoryState())
    assert orjson.loads(outcome.messages[0].value or b"")["origin"] == 7


def test_a_label_carries_the_event_time_that_the_partition_had_reached() -> None:
    partition = LabelPartition()
    partition.take(*until(START - DAY))
    [opened] = partition.take(application(applied_at=START))
    assert opened.watermark == START - DAY
    partition.take(*until(CLOSES_AT + DAY))
    [_, closed] = partition.history["application-1"]
    assert closed.watermark == CLOSES_AT


@pytest.mark.parametrize(
    ("brought", "carried"),
    [(None, BASE_LOG_ODDS), (0.0, 0.0), (-1.5, -1.5), (31.0, 30.0), (-1e300, -30.0)],
)
def test_the_global_log_odds_are_brought_or_those_of_the_base_rate_and_never_beyond_30(
    brought: float | None, carried: float
) -> None:
    [opened] = LabelPartition().take(application(global_log_odds=brought))
    assert opened.global_log_odds == pytest.approx(carried, abs=1e-12)


def test_a_label_carries_the_part_of_the_score_that_the_job_has_learned() -> None:
    """By hand: prior precisions 4 and 16 scale the intercept by 1/2 and the features by 1/4."""
    learned_job = unpack_many(entity_type(AdaptiveSGD(), 3), [None])
    learned_job["version"], learned_job["coefficients"] = 9, [0.5, 1.0, -2.0]
    partition = LabelPartition()
    partition.jobs.apply({entity_key("job-1"): pack_many(learned_job)[0]})
    learned, new = partition.take(
        application("application-1", job_id="job-1", member_features=[2.0, 100.0]),
        application("application-2", job_id="job-2", member_features=[2.0, 100.0]),
    )
    # 0.5 * 1/2 + 1 * 2/4 - 2 * 20/4: the feature of 100 is clipped to 20.
    assert (learned.job_log_odds, learned.job_version) == (-9.25, 9)
    assert (new.job_log_odds, new.job_version) == (0.0, 0)


# The course of a label.


def test_explicit_feedback_is_used_the_moment_it_arrives() -> None:
    partition = LabelPartition()
    labels = partition.take(application(), engagement("message", engaged_at=START + DAY))
    assert steps(labels) == [(1, "opened"), (2, "explicit:message")]
    assert labels[-1].final


def test_silence_is_a_final_negative_when_both_inputs_have_reached_14_days() -> None:
    partition = LabelPartition()
    partition.take(application())
    assert steps(partition.take(*until(CLOSES_AT - 1))) == []
    assert steps(partition.take(*until(CLOSES_AT))) == [(2, "window-closed")]


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_backlog_on_one_input_closes_nothing_early(ahead: int) -> None:
    partition = LabelPartition()
    partition.take(application())
    events = until(CLOSES_AT + DAY)
    assert steps(partition.take(events[ahead])) == []
    assert steps(partition.take(events[1 - ahead])) == [(2, "window-closed")]


def test_an_input_that_has_not_begun_closes_nothing() -> None:
    partition = LabelPartition()
    partition.take(application(), application("application-2", applied_at=OVER_AT + DAY))
    assert {reason for _, reason in steps(partition.labels)} == {"opened"}


def test_an_engagement_in_the_backlog_is_in_time_however_far_the_other_input_is() -> None:
    partition = LabelPartition()
    partition.take(application(), application("application-2", applied_at=OVER_AT + DAY))
    labels = partition.take(engagement("message", engaged_at=CLOSES_AT - 1))
    assert steps(labels) == [(2, "explicit:message")]


def test_a_late_engagement_revises_the_final_label() -> None:
    partition = LabelPartition()
    partition.take(application(), *until(CLOSES_AT + DAY))
    partition.take(engagement("message", engaged_at=START + DAY))
    assert steps(partition.labels) == [(1, "opened"), (2, "window-closed"), (3, "late-engagement:message")]


def test_an_engagement_after_the_revisions_are_over_changes_nothing() -> None:
    partition = LabelPartition()
    partition.take(application(), *until(OVER_AT - 1))
    in_time = engagement("rejection", engaged_at=START + DAY)
    assert steps(partition.take(in_time)) == [(3, "late-engagement:rejection")]
    partition.take(*until(OVER_AT))
    assert partition.take(engagement("message", engaged_at=START + DAY)) == []
    assert partition.dead_letters == []


def test_labels_that_fall_due_together_come_in_the_order_of_their_deadlines() -> None:
    partition = LabelPartition()
    partition.take(*(application(f"application-{number}", applied_at=START - number) for number in range(5)))
    partition.take(*until(OVER_AT))
    closed = [label.application_id for label in partition.labels if label.reason == "window-closed"]
    assert closed == [f"application-{number}" for number in (4, 3, 2, 1, 0)]


def test_an_application_that_comes_after_its_window_is_opened_and_closed_at_once() -> None:
    partition = LabelPartition()
    partition.take(*until(CLOSES_AT + DAY))
    assert steps(partition.take(application())) == [(1, "opened"), (2, "window-closed")]


def test_an_engagement_before_its_application_waits_for_it() -> None:
    partition = LabelPartition()
    assert partition.take(engagement("message", engaged_at=START + DAY)) == []
    assert steps(partition.take(application())) == [(1, "opened"), (2, "explicit:message")]


# What cannot be used.


def test_a_record_that_is_no_event_is_a_dead_letter_and_the_rest_goes_on() -> None:
    partition = LabelPartition()
    broken = structs.replace(as_record(application()), key=b"\xff", value=b"{", offset=12, headers=[("trace", b"1")])
    labels = partition.read(broken, as_record(application()), structs.replace(as_record(engagement()), value=None))
    assert steps(partition.labels) == [(1, "opened")]
    assert reasons_of(labels) == ["NotJSONError", "InvalidEventError"]
    [dead, _] = partition.dead_letters
    headers = dict(dead.headers)
    assert (dead.key, dead.value, dead.headers[0]) == (b"\xff", b"{", ("trace", b"1"))
    assert (headers["__connect.errors.topic"], headers["__connect.errors.offset"]) == (b"applications", b"12")
    assert headers["__connect.errors.stage"] == b"label"


def test_an_application_after_all_that_can_be_said_about_it_is_a_dead_letter() -> None:
    partition = LabelPartition()
    partition.take(*until(OVER_AT - 1))
    assert steps(partition.take(application("just-in-time")), "just-in-time") == [(1, "opened"), (2, "window-closed")]
    partition.take(*until(OVER_AT))
    assert partition.take(application("too-late")) == []
    assert reasons_of(partition.messages) == ["LateApplicationError"]


def test_features_of_another_schema_or_length_are_a_dead_letter() -> None:
    partition = LabelPartition()
    partition.take(application())
    partition.take(
        application("a", feature_schema="other"),
        application("b", member_features=[0.5]),
        application("c", job_features=[]),
        application("d"),
    )
    assert reasons_of(partition.messages) == ["FeatureSchemaMismatchError"] * 3
    assert list(partition.history) == ["application-1", "d"]


def test_the_schema_of_the_first_application_is_remembered_in_the_table() -> None:
    partition = LabelPartition()
    partition.take(application())
    restarted = LabelPartition(state=partition.state)
    restarted.take(application("application-2", feature_schema="other"))
    assert reasons_of(restarted.messages) == ["FeatureSchemaMismatchError"]


def test_a_schema_that_was_set_up_is_not_adopted_from_applications() -> None:
    partition = LabelPartition(schema=FeatureSchema("two-and-one", 2, 1))
    partition.take(application("a", feature_schema="other"), application("b"))
    assert reasons_of(partition.messages) == ["FeatureSchemaMismatchError"]
    assert list(partition.history) == ["b"]


def test_what_is_rejected_does_not_move_event_time() -> None:
    partition = LabelPartition()
    partition.take(application(), engagement("message", engagement_id="engagement-1", application_id="elsewhere"))
    partition.take(
        application("other", feature_schema="other", applied_at=OVER_AT),
        application(applied_at=OVER_AT),
        engagement("note", engagement_id="engagement-1", application_id="elsewhere", engaged_at=OVER_AT),
    )
    assert len(partition.dead_letters) == 3
    assert steps(partition.labels) == [(1, "opened")]


def test_conflicting_duplicates_are_dead_letters() -> None:
    partition = LabelPartition()
    partition.take(application(), engagement("note", engagement_id="engagement-1"))
    partition.take(application(member_id="member-2"), engagement("message", engagement_id="engagement-1"))
    assert reasons_of(partition.messages) == ["ConflictingDuplicateError"] * 2
    assert steps(partition.labels) == [(1, "opened")]


def test_an_engagement_whose_application_never_comes_is_a_dead_letter_as_it_was_read() -> None:
    partition = LabelPartition()
    orphan = engagement("message", engaged_at=START)
    record = structs.replace(
        as_record(orphan, 99),
        key=b"\xff",
        value=b" " + orphan.model_dump_json().encode(),
        headers=[("trace", b"\x00"), ("null", None)],
    )
    partition.read(record)
    partition.take(*until(START + 14 * DAY - 1))
    assert partition.dead_letters == []
    partition.take(*until(START + 14 * DAY))
    [dead] = partition.dead_letters
    assert reasons_of([dead]) == ["OrphanEngagementError"]
    assert (dead.key, dead.value, list(dead.headers[:2])) == (record.key, record.value, list(record.headers))
    assert dict(dead.headers)["__connect.errors.offset"] == b"99"
    assert kept(partition) == []


def test_each_engagement_waits_its_own_time() -> None:
    partition = LabelPartition()
    partition.take(engagement("message", engaged_at=START - 14 * DAY), engagement("offer", engaged_at=START))
    partition.take(*until(START))
    assert reasons_of(partition.messages) == ["OrphanEngagementError"]
    assert steps(partition.take(application())) == [(1, "opened"), (2, "explicit:offer")]


def test_too_many_engagements_for_an_application_that_has_not_come_are_dead_letters() -> None:
    partition = LabelPartition(LabelPolicy(orphan_count=2))
    partition.take(*(engagement("message", engaged_at=START + number) for number in range(4)))
    assert reasons_of(partition.messages) == ["OrphanEngagementError"] * 2
    assert steps(partition.take(application()))[-1] == (2, "explicit:message")


# What the table holds.


def test_a_repeat_changes_no_state_and_sends_nothing() -> None:
    partition = LabelPartition()
    events = [application(), engagement(), engagement("note", application_id="elsewhere")]
    partition.take(*events)
    before = items(partition.state)
    for event in events:
        assert partition.read(as_record(event, 99)) == []
    assert items(partition.state) == before


def test_the_state_of_an_application_is_bounded_and_goes_away() -> None:
    partition = LabelPartition()
    partition.take(application(), engagement("message"), *until(OVER_AT - 1))
    [record] = [key for key in kept(partition) if key.startswith(b"application/")]
    assert len(items(partition.state)[record]) > 120
    partition.take(*until(OVER_AT))
    assert len(items(partition.state)[record]) < 20
    partition.take(*until(FORGOTTEN_AT - 1))
    assert record in kept(partition)
    partition.take(*until(FORGOTTEN_AT))
    assert kept(partition) == []


def test_a_table_whose_applications_are_all_forgotten_is_empty() -> None:
    partition = LabelPartition()
    early = engagement("message", application_id="waits", engaged_at=START + 1)
    partition.take(early, application("waits", applied_at=START + 2), engagement("note", application_id="orphan"))
    partition.take(*(application(f"silent-{number}", applied_at=START + number) for number in range(20)))
    for moment in (CLOSES_AT + DAY, OVER_AT + DAY, FORGOTTEN_AT + 2 * DAY):
        partition.take(*until(moment))
    about_clocks = {key for key in items(partition.state) if b"clock-" in key}
    assert set(items(partition.state)) - about_clocks == ALWAYS_KEPT


@pytest.mark.parametrize("moment", [OVER_AT, FORGOTTEN_AT - 1])
def test_a_repeat_of_what_is_over_changes_nothing_while_its_id_is_remembered(moment: int) -> None:
    partition = LabelPartition()
    partition.take(application(), engagement(), *until(moment))
    before = items(partition.state)
    assert partition.read(as_record(application(), 98), as_record(engagement(), 99)) == []
    assert items(partition.state) == before


def test_an_id_is_remembered_as_long_even_if_an_engagement_waited_for_its_application() -> None:
    """Waiting would end when the application is over already: that must not forget the id."""
    partition = LabelPartition(LabelPolicy(orphan_days=40, jump_days=3_650))
    partition.take(engagement("message", engaged_at=START + DAY), application())
    partition.take(*until(OVER_AT))
    partition.take(*until(START + 41 * DAY))
    assert remembered(partition)
    partition.take(*until(FORGOTTEN_AT))
    assert kept(partition) == []


def test_an_id_is_remembered_as_long_even_if_all_its_deadlines_pass_in_one_chunk() -> None:
    partition = LabelPartition(LabelPolicy(orphan_days=20, jump_days=3_650))
    partition.take(engagement("message", engaged_at=START + DAY), application())
    partition.take(*until(OVER_AT))
    assert remembered(partition)


def test_a_forgotten_id_that_comes_again_is_not_labelled_again() -> None:
    partition = LabelPartition()
    partition.take(application(), *until(FORGOTTEN_AT))
    assert partition.take(application()) == []
    assert reasons_of(partition.messages) == ["LateApplicationError"]
    assert kept(partition) == []


def test_an_application_over_and_forgotten_in_one_chunk_leaves_nothing_behind_a_late_repeat() -> None:
    partition = LabelPartition(LabelPolicy(memory_days=1, jump_days=3_650))
    partition.take(application())
    partition.take(*until(OVER_AT + DAY), application())
    assert kept(partition) == []


# What silence says.


def job(number: int, name: str = "job-1", *, hours: float = 1) -> Application:
    """Return one of several applications, each sent an hour after the one before."""
    return application(f"application-{number}", job_id=name, applied_at=START + int(number * hours * DAY / 24))


def answer(number: int, kind: str = "message", name: str = "job-1") -> Engagement:
    return engagement(kind, application_id=f"application-{number}", job_id=name, engaged_at=START + DAY)


def test_an_answer_to_a_later_application_makes_the_earlier_ones_provisional_negatives() -> None:
    partition = LabelPartition()
    partition.take(job(1), job(2), job(3), job(4), answer(3))
    assert {name: label[-1].kind for name, label in partition.history.items()} == {
        "application-1": "provisional",
        "application-2": "provisional",
        "application-3": "positive",
        "application-4": "open",
    }
    [_, silent] = partition.history["application-1"]
    assert (silent.value, silent.weight, silent.final) == (0, 1.0, False)
    assert (silent.reason, silent.happened_at) == ("silence:later-response", START + DAY)


def test_a_provisional_negative_weighs_what_the_policy_says() -> None:
    partition = LabelPartition(LabelPolicy(silence=Silence(weight=0.75)))
    partition.take(job(1), job(2), answer(2))
    assert partition.history["application-1"][-1].weight == 0.75


@pytest.mark.parametrize("kind", ["rejection", "message"])
def test_a_rejection_is_an_answer_too(kind: str) -> None:
    partition = LabelPartition()
    partition.take(job(1), job(2), answer(2, kind))
    assert partition.history["application-1"][-1].kind == "provisional"


def test_what_decides_nothing_is_no_answer() -> None:
    partition = LabelPartition()
    partition.take(job(1), job(2), answer(2, "note"))
    partition.take(engagement("message", application_id="application-2", engaged_at=CLOSES_AT + DAY))
    assert partition.history["application-1"][-1].kind == "open"


def test_an_answer_says_nothing_of_other_jobs_nor_of_those_that_are_answered() -> None:
    partition = LabelPartition()
    partition.take(job(1, "job"), job(2, "job-1"), answer(2), job(3), job(4), answer(3, "rejection"), answer(4))
    assert steps(partition.labels, "application-1") == [(1, "opened")]
    assert steps(partition.labels, "application-3") == [(1, "opened"), (2, "explicit:rejection")]


def test_an_application_that_comes_after_a_later_one_was_answered_is_a_provisional_negative_at_once() -> None:
    partition = LabelPartition()
    partition.take(job(2), answer(2))
    assert steps(partition.take(job(1))) == [(1, "opened"), (2, "silence:later-response")]


def test_each_application_is_silent_once_however_busy_the_job() -> None:
    partition = LabelPartition()
    partition.take(*(job(number, hours=0.1) for number in range(30)))
    for number in range(29, 20, -1):
        partition.take(answer(number), answer(number, "offer"))
    assert [len(partition.history[f"application-{number}"]) for number in range(20)] == [2] * 20


def test_silence_is_revised_by_an_answer_and_closed_with_the_window() -> None:
    partition = LabelPartition()
    partition.take(job(0), job(1), job(2), answer(2))
    partition.take(answer(1))
    partition.take(*until(CLOSES_AT + DAY))
    assert steps(partition.labels, "application-1")[2:] == [(3, "explicit:message")]
    assert steps(partition.labels, "application-0")[1:] == [(2, "silence:later-response"), (3, "window-closed")]


def test_silence_may_say_nothing() -> None:
    partition = LabelPartition(LabelPolicy(silence=Silence(rule=SilenceRule.NONE)))
    partition.take(job(1), job(2), answer(2))
    assert steps(partition.labels) == [(1, "opened")]


def test_an_answer_that_concerns_many_is_spread_over_chunks() -> None:
    partition = LabelPartition(most_due=10)
    partition.take(*(job(number, hours=0.1) for number in range(35)))
    before = len(partition.labels)
    assert len(partition.take(answer(34))) == 1 + 10
    # What is new waits for it, and is not forgotten.
    assert len(partition.take(job(33, hours=0.1), job(40, "job-2"), job(50, hours=0.05))) == 10
    assert partition.finish() == 3
    assert len(partition.labels) == before + 1 + 34 + 1 + 2
    assert all(len(revisions) == 2 for name, revisions in partition.history.items() if name != "application-40")


def test_applications_of_the_chunk_itself_are_visited_among_those_of_the_table() -> None:
    partition = LabelPartition(most_due=5)
    partition.take(*(job(number) for number in range(0, 20, 2)))
    partition.take(*(job(number) for number in range(1, 20, 2)), answer(19))
    partition.finish()
    assert {len(revisions) for revisions in partition.history.values()} == {2}
    assert not any(key.startswith(b"visiting/") for key in items(partition.state))


def test_of_many_that_were_sent_at_one_moment_each_is_visited_once() -> None:
    partition = LabelPartition(most_due=5)
    partition.take(*(job(number, hours=0) for number in range(10, 30)), job(40))
    partition.take(answer(40))
    assert partition.finish() == 4
    assert {len(revisions) for revisions in partition.history.values()} == {2}


@pytest.mark.parametrize(
    ("curves", "events"),
    [
        (
            None,
            [
                application("a1"),
                application("a2"),
                application("a3", applied_at=START + DAY),
                application("clock", job_id="job-2", applied_at=CLOSES_AT),
                engagement(application_id="a3", engaged_at=CLOSES_AT),
            ],
        ),
        (
            SilenceCurves(
                ages=(0, 2 * DAY, 4 * DAY, 14 * DAY),
                by_age=(0.0, 0.4, 0.6, 1.0),
                activities=(0, 1, 2),
                by_activity=((0.0, 0.2, 0.4, 1.0), (0.0, 0.4, 0.6, 1.0), (0.5, 0.8, 0.9, 1.0)),
            ),
            [
                *(application(name) for name in ("a1", "a2", "a3", "x", "y")),
                engagement(application_id="x", engaged_at=START + 8 * DAY),
                engagement(application_id="y", engaged_at=START + 4 * DAY),
            ],
        ),
    ],
    ids=["later response", "curves"],
)
def test_what_an_answer_says_of_others_comes_before_what_falls_due_after_it(
    curves: SilenceCurves | None, events: list[Application | Engagement]
) -> None:
    """However few of them are visited at once."""
    at_once, in_parts = (LabelPartition(most_due=most, curves=curves) for most in (20_000, 1))
    for event in events:
        at_once.take(event)
        in_parts.take(event)
    in_parts.finish()
    assert in_parts.history == at_once.history


# What silence says by curves.

CURVES = SilenceCurves(
    ages=(0, 2 * DAY, 4 * DAY, 14 * DAY),
    by_age=(0.0, 0.4, 0.6, 1.0),
    activities=(0, 1, 3),
    by_activity=((0.0, 0.2, 0.4, 1.0), (0.0, 0.4, 0.6, 1.0), (0.5, 0.8, 0.9, 1.0)),
)
ONE_AGE_ONLY = SilenceCurves(ages=(0, 10 * DAY), by_age=(0.0, 0.5))


def weights(partition: LabelPartition, application_id: str = "application-1") -> list[float]:
    return [round(label.weight, 6) for label in partition.history[application_id] if label.reason == "silence:curve"]


def test_silence_counts_more_with_the_age() -> None:
    partition = LabelPartition(curves=SilenceCurves(CURVES.ages, CURVES.by_age))
    partition.take(application(), *until(START + DAY))
    assert weights(partition) == []
    partition.take(*until(START + 2 * DAY))
    assert weights(partition) == [0.4]
    partition.take(*until(START + 13 * DAY))
    assert weights(partition) == [0.4, 0.6]
    [_, silent, *_] = partition.history["application-1"]
    assert (silent.value, silent.final, silent.kind) == (0, False, "provisional")
    assert (silent.reason, silent.happened_at) == ("silence:curve", START + 2 * DAY)
    partition.take(*until(CLOSES_AT))
    assert partition.history["application-1"][-1].reason == "window-closed"


def test_silence_counts_more_with_what_others_hear() -> None:
    partition = LabelPartition(curves=CURVES)
    partition.take(job(1), *(job(number) for number in range(2, 6)))
    partition.take(answer(2))
    # A day less an hour old, one answer to another since.
    assert weights(partition) == [round(0.4 * 23 / 48, 6)]
    partition.take(answer(3))
    assert len(weights(partition)) == 1
    partition.take(answer(4, "rejection"))
    assert weights(partition)[1:] == [round(0.5 + 0.3 * 23 / 48, 6)]


def test_an_answer_from_before_its_application_is_heard_with_it() -> None:
    """Not sooner: what is weighed counts the answers of until then."""
    partition = LabelPartition(curves=CURVES)
    partition.take(job(1), job(2), job(30), answer(30), answer(2))
    silent = partition.history["application-1"][-1]
    assert (silent.reason, silent.happened_at) == ("silence:curve", START + DAY * 30 // 24)


def test_what_has_hardly_moved_is_not_said_again() -> None:
    policy = LabelPolicy(silence=Silence(minimum_change=0.3))
    partition = LabelPartition(policy, curves=CURVES)
    partition.take(job(1), job(2), answer(2))
    assert weights(partition) == []
    partition.take(*until(START + 13 * DAY))
    assert weights(partition) == [0.4]


def test_several_answers_to_one_application_are_one() -> None:
    partition = LabelPartition(curves=CURVES)
    partition.take(job(1), job(2), answer(2), answer(2, "offer"), answer(2, "interview"))
    assert len(weights(partition)) == 1


def test_answers_before_an_application_say_nothing_of_it() -> None:
    partition = LabelPartition(curves=CURVES)
    partition.take(job(2), job(3), job(4), answer(2), answer(3), answer(4), *until(START + DAY))
    partition.take(job(30), *until(START + 2 * DAY))
    assert weights(partition, "application-30") == []


@pytest.mark.parametrize("revision_days", [1, 14])
def test_what_others_heard_counts_as_long_as_an_application_is_open(revision_days: float) -> None:
    """However soon the application that was answered is over: the answer is younger than that."""
    curves = SilenceCurves(
        ages=(0, 4 * DAY, 5 * DAY, 14 * DAY),
        by_age=(0.0, 0.1, 0.2, 0.3),
        activities=(0, 1),
        by_activity=((0.0, 0.1, 0.2, 0.3), (0.0, 0.1, 0.6, 0.7)),
    )
    partition = LabelPartition(LabelPolicy(revision_days=revision_days), curves=curves)
    partition.take(application("answered"), application(applied_at=START + 12 * DAY))
    partition.take(engagement(application_id="answered", engaged_at=START + 13 * DAY), *until(START + 15 * DAY))
    partition.take(*until(START + 18 * DAY))
    assert weights(partition)[-1] == 0.6


@pytest.mark.parametrize("answered_at", [START + DAY, START + 13 * DAY])
@pytest.mark.parametrize("together", [True, False])
def test_what_others_heard_is_forgotten_with_the_last_application(answered_at: int, *, together: bool) -> None:
    partition = LabelPartition(LabelPolicy(revision_days=1), curves=CURVES)
    partition.take(
        application(job_id="job-2"),
        application("application-2", job_id="job-2"),
        engagement(job_id="job-2", engaged_at=answered_at),
        *(until(START + 15 * DAY) if together else ()),
    )
    partition.take(*until(START + 15 * DAY))
    assert [key for key in items(partition.state) if b"job-2" in key and not key.startswith(b"applied/")] == []


def test_an_application_that_comes_late_is_weighed_at_once() -> None:
    partition = LabelPartition(curves=ONE_AGE_ONLY)
    partition.take(application("application-2"), *until(START + 10 * DAY), application())
    assert weights(partition) == [0.5]


def test_curves_need_no_activity() -> None:
    partition = LabelPartition(curves=ONE_AGE_ONLY)
    partition.take(job(1), job(2), answer(2))
    assert weights(partition) == []


def test_without_curves_the_rule_is_that_of_the_later_response() -> None:
    partition = LabelPartition(LabelPolicy(silence=Silence(rule=SilenceRule.CURVE)))
    partition.take(job(1), job(2), answer(2))
    assert steps(partition.labels, "application-1") == [(1, "opened"), (2, "silence:later-response")]


def test_a_policy_may_do_without_the_curves() -> None:
    partition = LabelPartition(LabelPolicy(silence=Silence(rule=SilenceRule.LATER_RESPONSE)), curves=CURVES)
    partition.take(job(1), job(2), answer(2), *until(START + 13 * DAY))
    assert steps(partition.labels, "application-1") == [(1, "opened"), (2, "silence:later-response")]


def test_each_application_moves_through_a_handful_of_steps_however_busy_the_job() -> None:
    partition = LabelPartition(curves=CURVES)
    partition.take(*(job(number, hours=0.1) for number in range(300)))
    for number in range(299, 100, -1):
        partition.take(answer(number))
    partition.take(*until(START + 13 * DAY))
    assert max(len(weights(partition, f"application-{number}")) for number in range(100)) <= 1 / 0.12


def test_an_answer_that_concerns_many_is_spread_over_chunks_by_curves_too() -> None:
    one, all_at_once = (LabelPartition(curves=CURVES, most_due=most) for most in (7, 20_000))
    for partition in (one, all_at_once):
        partition.take(*(job(number, hours=0.01) for number in range(50)))
        partition.take(answer(49), answer(48))
        partition.finish()
        partition.take(answer(47))
        partition.finish()
    for number in range(47):
        assert weights(one, f"application-{number}")[-1] == weights(all_at_once, f"application-{number}")[-1]


@pytest.mark.parametrize("changed", ["window_days", "revision_days", "memory_days", "orphan_days"])
def test_durations_do_not_change_under_existing_state(changed: str) -> None:
    partition = LabelPartition()
    partition.read()
    partition.take(application())
    partition.policy = LabelPolicy(**{changed: 3, "precedence": "last", "silence": Silence(rule=SilenceRule.NONE)})
    with pytest.raises(PolicyChangedError, match="revision_days 14, memory_days 1095 and orphan_days 14"):
        partition.take(engagement())


@pytest.mark.parametrize("before", [None, FeatureSchema("two-and-one", 2, 1)])
def test_the_feature_schema_of_a_bundle_does_not_change_under_existing_state(before: FeatureSchema | None) -> None:
    partition = LabelPartition(schema=before)
    partition.take(application())
    partition.schema = FeatureSchema("two-and-one", 2, 1)
    assert steps(partition.take(engagement())) == [(2, "explicit:message")]
    partition.schema = FeatureSchema("others", 2, 1)
    with pytest.raises(StateFormatError, match="two-and-one"):
        partition.take(engagement("offer"))


def test_the_rest_of_the_policy_may_change() -> None:
    partition = LabelPartition()
    partition.take(application())
    partition.policy = LabelPolicy(precedence="last", lateness_minutes=1, silence=Silence(rule=SilenceRule.NONE))
    assert steps(partition.take(engagement())) == [(2, "explicit:message")]


# What was used and says nothing.


def test_kinds_of_no_list_and_answers_that_come_too_late_are_counted() -> None:
    partition = LabelPartition(LabelPolicy(neutral=frozenset({"seen"})))
    partition.take(application(), engagement("note"), engagement("seen"), engagement("note", engaged_at=START + 1))
    assert partition.counted == {"kind that no policy names: note": 2}
    partition.take(engagement(engaged_at=CLOSES_AT))
    partition.take(*until(OVER_AT), engagement(engaged_at=OVER_AT))
    assert partition.counted["engagement after the window"] == 2


@pytest.mark.parametrize("application_first", [True, False])
@pytest.mark.parametrize(
    ("engaged_at", "why"),
    [
        (CLOSES_AT, "engagement after the window"),
        (START - 14 * DAY, "engagement long before its application"),
        # In seconds instead of milliseconds.
        (START // 1000, "engagement long before its application"),
        (CLOSES_AT - 1, None),
        (START - 14 * DAY + 1, None),
    ],
)
def test_an_engagement_out_of_time_is_counted_whatever_comes_first(
    engaged_at: int, why: str | None, *, application_first: bool
) -> None:
    partition = LabelPartition()
    events = application(), engagement("offer", engaged_at=engaged_at)
    partition.take(*(events if application_first else reversed(events)))
    assert partition.counted == ({why: 1} if why else {})
    assert partition.labels[-1].kind == ("open" if why else "positive")


# Event time.


@pytest.mark.parametrize("extra", [START, "2026-01-05"])
def test_a_record_happened_when_its_own_topic_says_whatever_else_it_brings(extra: int | str) -> None:
    engaged = {**engagement(engaged_at=START + 10 * DAY).model_dump(), "applied_at": extra, "reached_at": extra}
    applied = {**application(applied_at=START + 10 * DAY).model_dump(), "engaged_at": extra, "reached_at": extra}
    moved = {**tick(START + 10 * DAY).model_dump(), "applied_at": extra, "engaged_at": extra}
    records = [
        Record(topic, 0, 0, b"job-1", orjson.dumps(fields))
        for topic, fields in (("applications", applied), ("engagements", engaged), ("ticks", moved))
    ]
    assert label_stage(LabelPolicy()).event_times(records) == [START + 10 * DAY] * 3


def test_what_is_no_event_says_no_time() -> None:
    values = [None, b"", b"{", b"[" * 100_000, b'{"applied_at": -1}', b'{"applied_at": 1.5}', b'{"engaged_at": 1}']
    records = [Record("applications", 0, 0, None, value) for value in values]
    assert label_stage(LabelPolicy()).event_times(records) == [0] * len(values)


def test_event_time_stays_behind_by_the_lateness_that_is_allowed() -> None:
    partition = LabelPartition(LabelPolicy(lateness_minutes=10))
    partition.take(application(), *until(CLOSES_AT + 599_999))
    assert steps(partition.labels) == [(1, "opened")]
    partition.take(*until(CLOSES_AT + 600_000))
    assert steps(partition.labels) == [(1, "opened"), (2, "window-closed")]


@pytest.mark.parametrize("which", [0, 1])
def test_one_event_from_the_far_future_is_a_dead_letter_and_closes_nothing(which: int) -> None:
    partition = LabelPartition(LabelPolicy())
    partition.take(application(), *until(START + 1))
    partition.take(until(START + 1_000 * DAY)[which])
    assert reasons_of(partition.messages) == ["FutureEventError"]
    assert steps(partition.take(*until(START + DAY))) == []
    assert steps(partition.labels) == [(1, "opened")]


def test_the_same_event_again_does_not_make_the_far_future_true() -> None:
    partition = LabelPartition(LabelPolicy())
    partition.take(application(), *until(START + 1))
    for _ in range(3):
        partition.take(until(START + 1_000 * DAY)[0])
    assert reasons_of(partition.messages) == ["FutureEventError"] * 3


def test_time_jumps_when_two_applications_agree() -> None:
    partition = LabelPartition(LabelPolicy())
    partition.take(application(), *until(START + 1))
    later = START + 1_000 * DAY
    partition.take(*until(later), *until(later + 1))
    assert reasons_of(partition.messages) == ["FutureEventError"] * 2
    assert steps(partition.labels) == [(1, "opened"), (2, "window-closed")]


def test_a_jump_within_the_bound_is_believed() -> None:
    partition = LabelPartition(LabelPolicy(jump_days=15))
    partition.take(application(), *until(START), *until(START + 15 * DAY))
    assert partition.dead_letters == []
    assert steps(partition.labels) == [(1, "opened"), (2, "window-closed")]


def test_much_that_falls_due_at_once_is_done_in_parts() -> None:
    partition = LabelPartition(most_due=10)
    partition.take(*(application(f"application-{number}", applied_at=START + number) for number in range(25)))
    closed = [len(partition.take(*until(CLOSES_AT + DAY))) - 1]
    while partition.unfinished:
        closed.append(len(partition.take()))
    assert closed == [10, 10, 5]
    assert [len(history) for history in partition.history.values()] == [2] * 25 + [1]


def test_what_falls_due_at_one_moment_is_done_together() -> None:
    partition = LabelPartition(most_due=10)
    partition.take(*(application(f"application-{number}") for number in range(25)))
    partition.take(*until(CLOSES_AT))
    assert not partition.unfinished
    assert [len(history) for history in partition.history.values()] == [2] * 25 + [1]


def test_more_lateness_than_before_strands_no_engagement_that_waits() -> None:
    partition = LabelPartition(LabelPolicy())
    partition.take(application(), *until(START))
    partition.policy = LabelPolicy(lateness_minutes=60)
    partition.take(engagement(application_id="missing", engaged_at=START - 14 * DAY - 60_000))
    for days in range(1, 60):
        partition.take(*until(START + days * DAY))
    assert reasons_of(partition.messages) == ["OrphanEngagementError"]
    assert kept(partition, "missing") == []


# Jobs.


def test_an_engagement_about_another_job_than_its_application_is_a_dead_letter() -> None:
    partition = LabelPartition()
    partition.take(application(), engagement(job_id="job-2"))
    partition.take(engagement(application_id="early", job_id="job-2"), application("early"))
    assert reasons_of(partition.messages) == ["MismatchedJobError"] * 2
    assert [history[-1].kind for history in partition.history.values()] == ["open", "open"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_engagement_about_another_job_takes_no_id_from_one_about_the_job(order: tuple[int, ...]) -> None:
    partition = LabelPartition()
    wrong, right = (engagement(job_id=job_id, engagement_id="1") for job_id in ("job-2", "job-1"))
    events = (application(), wrong, right)
    partition.take(*(events[index] for index in order))
    assert reasons_of(partition.messages) == ["MismatchedJobError"]
    assert partition.labels[-1].kind == "positive"


def test_an_event_that_does_not_belong_into_the_partition_is_a_dead_letter() -> None:
    records = [
        as_record(event) for event in (application(), application("b", job_id="job-2"), engagement(job_id="job-2"))
    ]
    outcome = label_stage(LabelPolicy()).process(
        0, records, MemoryState(), MemoryState(), belongs=lambda job_id: job_id == "job-1"
    )
    assert reasons_of(outcome.messages) == ["WrongPartitionError"] * 2
    assert [label.application_id for label in labels_of(outcome.messages)] == ["application-1"]


# Ticks.


def tick(reached_at: int, *, applications: bool = True, engagements: bool = True) -> Tick:
    return Tick(partition=0, reached_at=reached_at, applications=applications, engagements=engagements)


def test_a_tick_moves_the_inputs_that_are_quiet() -> None:
    partition = LabelPartition()
    partition.take(application(), *until(START))
    assert steps(partition.take(tick(CLOSES_AT, engagements=False))) == []
    assert steps(partition.take(tick(CLOSES_AT, applications=False))) == [(2, "window-closed")]


def test_a_tick_never_moves_time_back() -> None:
    partition = LabelPartition()
    partition.take(application(), *until(START + DAY))
    before = items(partition.state)
    partition.take(tick(START))
    assert items(partition.state) == before


@pytest.mark.parametrize(
    ("quiet", "moved"),
    [
        (Quiet(applications=True, engagements=True, milliseconds=5), (START + 15, True, True)),
        (Quiet(applications=False, engagements=True, milliseconds=-4), (START + 6, False, True)),
        (Quiet(applications=True, engagements=False, milliseconds=-4), None),
        (Quiet(applications=True, engagements=True, milliseconds=-11), None),
        (Quiet(applications=False, engagements=False, milliseconds=5), None),
        (Quiet(applications=True, engagements=True, milliseconds=5, least=START + 20), (START + 20, True, True)),
    ],
)
def test_the_present_is_the_newest_event_and_the_time_that_has_passed(
    quiet: Quiet, moved: tuple[int, bool, bool] | None
) -> None:
    partition = LabelPartition()
    partition.take(application("new", applied_at=START + 10), application("as-new", applied_at=START + 10))
    partition.take(engagement(application_id="new", engaged_at=START))
    stage = label_stage(LabelPolicy())
    found = stage.tick(3, partition.state, quiet)
    assert found == (None if moved is None else wire.Tick(3, *moved))
    if found is not None and moved is not None:
        message = stage.message_of(found)
        assert (message.topic, message.key, message.partition) == ("ticks", b"3", 3)
        assert Decoder(Tick).decode([message.value]) == [
            Tick(
                partition=3, reached_at=found.reached_at, applications=found.applications, engagements=found.engagements
            )
        ]


def test_a_tick_of_another_partition_is_none() -> None:
    """Workers of before wrote ticks to the partition that a hash of the number gave."""
    partition = LabelPartition()
    partition.take(application(), *until(START))
    before = items(partition.state)
    partition.take(tick(CLOSES_AT).model_copy(update={"partition": 1}))
    assert items(partition.state) == before
    assert partition.counted["tick of another partition"] == 1


def ticked(partition: LabelPartition, quiet: Quiet) -> None:
    """Let a partition read the tick that it would write."""
    stage = label_stage(partition.policy)
    found = stage.tick(0, partition.state, quiet)
    assert found is not None
    message = stage.message_of(found)
    partition.read(Record(message.topic, 0, 0, message.key, message.value))


def test_a_jump_that_two_agree_on_is_the_present() -> None:
    partition = LabelPartition(LabelPolicy())
    partition.take(*until(START), application("a"))
    for name in ("one", "another"):
        partition.take(engagement("note", application_id=name, engaged_at=START + 40 * DAY))
    ticked(partition, Quiet(applications=True, engagements=False, milliseconds=0))
    assert steps(partition.labels, "a") == [(1, "opened"), (2, "window-closed")]


@pytest.mark.parametrize("days", [20, 29])
def test_one_clock_that_is_ahead_is_not_the_present(days: int) -> None:
    """It is believed, as within ``jump_days``, and moves its own topic: ticks do not bring the other one there."""
    partition = LabelPartition(LabelPolicy())
    partition.take(*until(START - DAY), application("a"), application("b"))
    partition.take(engagement("note", application_id="bad", engaged_at=START + days * DAY))
    ticked(partition, Quiet(applications=True, engagements=True, milliseconds=60_000))
    assert steps(partition.labels, "a") == steps(partition.labels, "b") == [(1, "opened")]
    # A second one says the same: then it is the present.
    partition.take(engagement("note", application_id="another", engaged_at=START + days * DAY))
    ticked(partition, Quiet(applications=True, engagements=False, milliseconds=0))
    assert steps(partition.labels, "a")[1:] == steps(partition.labels, "b")[1:] == [(2, "window-closed")]


def test_without_events_of_both_inputs_there_is_no_present() -> None:
    quiet = Quiet(applications=True, engagements=True, milliseconds=5)
    partition = LabelPartition()
    assert label_stage(LabelPolicy()).tick(0, partition.state, quiet) is None
    partition.take(application())
    assert label_stage(LabelPolicy()).tick(0, partition.state, quiet) is None
