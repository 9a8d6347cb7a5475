"""What holds of the label stage for every small marketplace: cuts, interleavings, repeats, histories, an oracle.

Times are a few milliseconds and so are the windows of the policy: everything happens, and happens often.
"""

from collections.abc import Sequence
from itertools import pairwise

from builders import DAY, application, as_record, as_records, engagement
from hypothesis import given, settings
from hypothesis import strategies as st
from label_oracle import expected_outcomes, last_outcomes, without_moment_of_silence, without_wording
from label_partition import LabelPartition, items, messages_of

from stream_qa.events import Application, Engagement, Label, Record
from stream_qa.events.fields import Event
from stream_qa.labels import LabelPolicy
from stream_qa.labels.curves import SilenceCurves
from stream_qa.labels.policy import Precedence
from stream_qa.learning import AdaptiveSGD
from stream_qa.learning.entity import entity_key, entity_type, pack_many, unpack_many

MILLISECOND = 1 / DAY
SHORT = LabelPolicy(
    window_days=10 * MILLISECOND,
    revision_days=6 * MILLISECOND,
    memory_days=5 * MILLISECOND,
    orphan_days=8 * MILLISECOND,
    orphan_count=3,
)
"""Everything ends within the history: windows, revisions, memories and patience."""
PATIENT = LabelPolicy(window_days=10 * MILLISECOND, revision_days=1, memory_days=1, orphan_days=1)
"""Nothing comes too late to revise a label, whatever the order."""
WAITS_FOR_ANY_NUMBER = SHORT.model_copy(update={"orphan_count": 1_000})
PRECEDENCES = st.sampled_from(Precedence)

CURVES = SilenceCurves(
    ages=(0, 3, 6, 10),
    by_age=(0.0, 0.4, 0.6, 1.0),
    activities=(0, 1, 2),
    by_activity=((0.0, 0.2, 0.4, 1.0), (0.0, 0.4, 0.6, 1.0), (0.5, 0.8, 0.9, 1.0)),
)

IDS = ["a", "b", "c", "d", "e"]
KINDS = ["message", "offer", "rejection", "rejected", "note"]
MOMENTS = st.integers(0, 40)
JOBS = st.sampled_from(["j", "j", "j", "k"])
JOB_OF = {"a": "j", "b": "j", "c": "j", "d": "k", "e": "k", "missing": "k"}
ENGAGEMENTS = st.builds(
    lambda kind, name, moment: engagement(kind, application_id=name, job_id=JOB_OF[name], engaged_at=moment),
    st.sampled_from(KINDS),
    st.sampled_from(sorted(JOB_OF)),
    MOMENTS,
)
#: Engagements whose ids are used again, and applications that differ under one id or come with another schema.
CONFLICTING_ENGAGEMENTS = st.builds(
    engagement,
    st.sampled_from(KINDS),
    application_id=st.sampled_from(IDS),
    job_id=JOBS,
    engaged_at=MOMENTS,
    engagement_id=st.sampled_from([None, "1", "2"]),
)
CONFLICTING_APPLICATIONS = st.builds(
    application,
    st.sampled_from(IDS),
    member_id=st.sampled_from(["m", "n"]),
    job_id=JOBS,
    applied_at=MOMENTS,
    feature_schema=st.sampled_from(["s", "s", "s", "t"]),
    member_features=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
)
ANYTHING = st.lists(CONFLICTING_APPLICATIONS | CONFLICTING_ENGAGEMENTS | ENGAGEMENTS, max_size=25)
#: Many applications to one job and answers to them: each may concern all others.
BUSY = st.lists(
    st.builds(
        lambda number, moment: application(f"busy-{number}", job_id="j", applied_at=moment), st.integers(0, 9), MOMENTS
    )
    | st.builds(
        lambda number, moment: engagement(application_id=f"busy-{number}", job_id="j", engaged_at=moment),
        st.integers(0, 9),
        MOMENTS,
    ),
    min_size=8,
    max_size=25,
)
PROPERTY = settings(max_examples=150)


@st.composite
def applications(draw: st.DrawFn) -> list[Application]:
    """Draw applications under ids of their own, in any order of time."""
    moments = draw(st.lists(MOMENTS, max_size=len(IDS)))
    return [
        application(application_id, applied_at=moment, job_id=JOB_OF[application_id])
        for application_id, moment in zip(IDS, moments, strict=False)
    ]


@st.composite
def interleaved(draw: st.DrawFn, first: Sequence[Event], second: Sequence[Event]) -> list[Event]:
    """Draw an order in which both topics keep their own."""
    turns = draw(st.permutations([True] * len(first) + [False] * len(second)))
    one, other = iter(first), iter(second)
    return [next(one if turn else other) for turn in turns]


@st.composite
def topics_in_order(draw: st.DrawFn) -> tuple[list[Application], list[Engagement]]:
    """Draw both topics, each in the order of event time."""
    return (
        sorted(draw(applications()), key=lambda each: each.applied_at),
        sorted(draw(st.lists(ENGAGEMENTS, max_size=15)), key=lambda each: each.engaged_at),
    )


def partition_of_jobs_that_have_learned(policy: LabelPolicy, curves: SilenceCurves | None = None) -> LabelPartition:
    learned = unpack_many(entity_type(AdaptiveSGD(), 3), [None, None])
    learned["version"] = [3, 4]
    learned["coefficients"] = [[0.1, 1.0 / 3.0, -2.0], [0.7, -0.1, 1e-3]]
    partition = LabelPartition(policy, curves=curves)
    partition.jobs.apply(dict(zip(map(entity_key, "jk"), pack_many(learned), strict=True)))
    return partition


def after(events: Sequence[Event], policy: LabelPolicy, curves: SilenceCurves | None = None) -> LabelPartition:
    """Return a partition that has read these events one by one."""
    partition = LabelPartition(policy, curves=curves)
    partition.read_in_chunks([record] for record in as_records(events))
    return partition


@given(ANYTHING, st.sampled_from([None, CURVES]), st.data())
@PROPERTY
def test_any_cut_into_chunks_sends_the_same_messages_in_the_same_order_and_leaves_the_same_state(
    events: list[Event], curves: SilenceCurves | None, data: st.DataObject
) -> None:
    """The order is that of each topic: between topics there is none that a reader could see."""
    records = as_records(events)
    for position in data.draw(st.lists(st.integers(0, len(records)), max_size=2)):
        records.insert(position, Record("engagements", 0, 1_000 + position, b"\xff", b"{"))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)))) | {0, len(records)})
    one_by_one, cut = (partition_of_jobs_that_have_learned(SHORT, curves) for _ in range(2))
    one_by_one.read_in_chunks([record] for record in records)
    cut.read_in_chunks(records[start:end] for start, end in pairwise(cuts))
    for topic in ("labels", "dead-letters"):
        assert messages_of(cut.messages, topic) == messages_of(one_by_one.messages, topic)
    assert len(cut.messages) == len(one_by_one.messages)
    # An empty history is cut into no chunk or into one without a record.
    if records:
        assert items(cut.state) == items(one_by_one.state)


@given(topics_in_order(), PRECEDENCES, st.data())
@PROPERTY
def test_any_interleaving_of_the_topics_gives_the_same_labels_in_the_end(
    topics: tuple[list[Application], list[Engagement]], precedence: Precedence, data: st.DataObject
) -> None:
    policy = WAITS_FOR_ANY_NUMBER.model_copy(update={"precedence": precedence})
    expected = expected_outcomes([*topics[0], *topics[1]], policy)
    events = data.draw(interleaved(*topics))
    found = last_outcomes(after(events, policy).history)
    assert {name: without_moment_of_silence(outcome) for name, outcome in found.items()} == expected


@given(topics_in_order(), st.data())
@PROPERTY
def test_engagements_about_other_jobs_change_no_label_in_the_end_whatever_the_interleaving(
    topics: tuple[list[Application], list[Engagement]], data: st.DataObject
) -> None:
    """Each of them with the id of one about the job, and at its moment."""
    own = [each.model_copy(update={"engagement_id": f"{each.kind}-{each.engaged_at}"}) for each in topics[1]]
    elsewhere = [each.model_copy(update={"job_id": "other"}) for each in own]
    end = application("clock", applied_at=100), engagement("note", application_id="clock", engaged_at=100)
    engaged = sorted(data.draw(st.permutations([*own, *elsewhere])), key=lambda each: each.engaged_at)
    events = data.draw(interleaved([*topics[0], end[0]], [*engaged, end[1]]))
    expected = expected_outcomes([*topics[0], *own, *end], WAITS_FOR_ANY_NUMBER)
    assert last_outcomes(after(events, WAITS_FOR_ANY_NUMBER).history) == expected


@given(ANYTHING | BUSY, st.integers(1, 5), st.sampled_from([None, CURVES]), st.data())
@PROPERTY
def test_doing_what_falls_due_in_parts_gives_the_same_labels_and_leaves_the_same_state(
    events: list[Event], most_due: int, curves: SilenceCurves | None, data: st.DataObject
) -> None:
    """However little is done at once, and however the log is cut: all of it comes before newer events."""
    records = as_records(events)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)))) | {0, len(records)})
    at_once = after(events, SHORT, curves)
    in_parts = LabelPartition(SHORT, curves=curves, most_due=most_due)
    in_parts.read_in_chunks(records[start:end] for start, end in pairwise(cuts))
    in_parts.finish()
    assert in_parts.history == at_once.history
    assert messages_of(in_parts.messages) == messages_of(at_once.messages)
    assert in_parts.counted == at_once.counted
    if records:
        assert items(in_parts.state) == items(at_once.state)


@given(applications(), st.lists(ENGAGEMENTS, max_size=15), PRECEDENCES, st.data())
@PROPERTY
def test_whatever_the_order_the_labels_are_the_same_in_the_end_as_long_as_they_can_be_revised(
    applied: list[Application], engaged: list[Engagement], precedence: Precedence, data: st.DataObject
) -> None:
    """Topics out of their own order: an engagement may come late, so the wording of its reason may say so."""
    events: list[Event] = data.draw(st.permutations([*applied, *engaged]))
    policy = PATIENT.model_copy(update={"precedence": precedence})
    expected = expected_outcomes(events, policy)
    found = last_outcomes(after(events, policy).history)
    assert {name: without_moment_of_silence(without_wording(outcome)) for name, outcome in found.items()} == expected


@given(topics_in_order(), st.data())
@PROPERTY
def test_repeating_records_changes_no_label(
    topics: tuple[list[Application], list[Engagement]], data: st.DataObject
) -> None:
    events = data.draw(interleaved(*topics))
    repeated = list(events)
    for position in data.draw(st.lists(st.integers(0, max(len(events) - 1, 0)), max_size=10 if events else 0)):
        first = repeated.index(events[position])
        repeated.insert(data.draw(st.integers(first + 1, len(repeated))), events[position])
    expected = after(events, WAITS_FOR_ANY_NUMBER)
    assert after(repeated, WAITS_FOR_ANY_NUMBER).labels == expected.labels


def is_answered(label: Label) -> bool:
    return label.kind in ("positive", "negative") and label.reason != "window-closed"


def is_silent(label: Label) -> bool:
    return label.reason.startswith("silence:")


def is_legal(previous: Label, label: Label, policy: LabelPolicy) -> bool:
    """Whether one revision may follow another."""
    closes_at = label.applied_at + policy.window
    return (
        label.revision == previous.revision + 1
        and label.watermark >= previous.watermark
        # What is known is not forgotten, a positive is never taken back, what is final stays final.
        and label.value is not None
        and (previous.value != 1 or label.value == 1)
        and label.final >= previous.final
        # A revision says something new.
        and (label.value, label.weight, label.final, label.reason, label.happened_at)
        != (previous.value, previous.weight, previous.final, previous.reason, previous.happened_at)
        # Silence says something while nothing else is known, each time more, until the window has closed.
        and (not is_silent(label) or ((previous.value is None or is_silent(previous)) and label.watermark < closes_at))
        and (not is_silent(label) or previous.weight < label.weight)
        and (label.weight == 1.0 or is_silent(label))
        and (label.reason != "window-closed" or (label.watermark >= closes_at and not is_answered(previous)))
        and (label.final == (label.value == 1 or label.watermark >= closes_at))
        # After the window a final label is only revised by what came late.
        and (label.reason.startswith("late-engagement:") == (previous.final and label.watermark >= closes_at))
    )


@given(ANYTHING, st.sampled_from([None, CURVES]))
@PROPERTY
def test_every_history_of_revisions_is_a_legal_path(events: list[Event], curves: SilenceCurves | None) -> None:
    partition = after(events, SHORT, curves)
    for revisions in partition.history.values():
        first = revisions[0]
        assert (first.value, first.weight, first.final, first.reason) == (None, 0.0, False, "opened")
        # An id that was forgotten may be used again: then a life begins anew.
        starts = [index for index, label in enumerate(revisions) if label.revision == 1]
        for start, end in zip(starts, [*starts[1:], len(revisions)], strict=True):
            life = revisions[start:end]
            for previous, label in pairwise(life):
                assert is_legal(previous, label, SHORT), (previous, label)


@given(ANYTHING, st.sampled_from([None, CURVES]))
@PROPERTY
def test_in_the_end_the_table_forgets_everything(events: list[Event], curves: SilenceCurves | None) -> None:
    partition = after(events, SHORT, curves)
    end = 1_000
    partition.read(
        as_record(application("clock", applied_at=end, feature_schema="s")),
        as_record(application("clock", applied_at=end, feature_schema="t")),
        as_record(engagement("note", application_id="clock", engaged_at=end)),
    )
    left = {key for key in items(partition.state) if not key.endswith(b"/clock") and b"clock" not in key[1:]}
    assert left == {b"clock", b"durations", b"feature-schema"}


def happened_at(event: Application | Engagement) -> int:
    return event.applied_at if isinstance(event, Application) else event.engaged_at


def first_answers(events: Sequence[Application | Engagement], job_id: str, policy: LabelPolicy) -> dict[str, int]:
    """Return when each application of a job was answered by the earliest engagement that decides, and not before it."""
    return {
        each.application_id: max(answer.engaged_at, each.applied_at)
        for each in events
        if isinstance(each, Application) and each.job_id == job_id
        for answer in [
            policy.deciding(
                [e for e in events if isinstance(e, Engagement) and e.application_id == each.application_id],
                each.applied_at,
            )
        ]
        if answer is not None
    }


@given(topics_in_order())
@PROPERTY
def test_silence_weighs_what_the_curve_says_of_the_age_and_of_what_others_heard(
    topics: tuple[list[Application], list[Engagement]],
) -> None:
    """Where events come in the order of their time, and each application is answered once."""
    one_each = list({each.application_id: each for each in reversed(topics[1])}.values())
    events: list[Application | Engagement] = [*topics[0], *one_each]
    events.sort(key=happened_at)
    partition = after(events, WAITS_FOR_ANY_NUMBER, CURVES)
    for application_id, revisions in partition.history.items():
        answers = first_answers(events, JOB_OF[application_id], WAITS_FOR_ANY_NUMBER)
        said = [label for label in revisions if label.reason == "silence:curve"]
        for label in said:
            # At the moment itself an answer counts from when it is read.
            times = [moment for name, moment in answers.items() if name != application_id and moment > label.applied_at]
            counts = {sum(moment < label.happened_at for moment in times)}
            counts |= set(range(max(counts), sum(moment <= label.happened_at for moment in times) + 1))
            age = label.happened_at - label.applied_at
            assert label.weight in {CURVES.share(age, count) for count in counts}
        for before, weight in pairwise([0.0, *(label.weight for label in said)]):
            assert weight - before >= 0.12
