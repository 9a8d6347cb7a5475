"""One model takes another's place: labels say when, so what is learned stays a function of the log of labels."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import orjson
import pytest
from builders import DAY, START, application, as_records, engagement, label
from hypothesis import given, settings
from hypothesis import strategies as st
from label_partition import items, labels_of

from stream_qa.errors import ModelMissingError, ModelRefusedError
from stream_qa.events import Delta, Label, Message, TopicNames
from stream_qa.learning import BaseRate, FeatureSchema, Prior, RandomEffect, Standardisation
from stream_qa.learning.arrays import Floats
from stream_qa.learning.entity import entity_key, entity_type, unpack_many
from stream_qa.settings import Settings
from stream_qa.stages.models import Model, Models
from stream_qa.stages.pipeline import Pipeline, build_pipeline
from stream_qa.stages.state import MemoryState

TOPICS = TopicNames()
SCHEMA = FeatureSchema("two-and-one", 2, 1)


def model(number: int, *, rate: float = 0.5, prior: Prior | None = None, schema: FeatureSchema = SCHEMA) -> Model:
    """Return a model named by its number, whose every prior is ``prior``."""
    version = f"model-{number}"
    of_member = RandomEffect("member", prior or Prior(), model_number=number, model_version=version)
    return Model(number, BaseRate(rate, version), of_member, replace(of_member, kind="job"), schema)


FIRST = model(0, rate=0.25, prior=Prior(4.0, 16.0))
SECOND = model(5, rate=0.75, prior=Prior(1.0, 2.0))
THIRD = model(6, rate=0.5, prior=Prior(9.0, 64.0))


def stages(*more: Model, rule: str = "adaptive-sgd", first: Model = FIRST) -> Pipeline:
    """Return the stages of a group that began with ``first`` and has heard of ``more``."""
    pipeline = build_pipeline(Settings.model_validate({"learning_rule": rule}))
    rule_used = pipeline.member.effect.rule

    def ruled(known: Model) -> Model:
        return replace(
            known,
            member_effect=replace(known.member_effect, rule=rule_used),
            job_effect=replace(known.job_effect, rule=rule_used),
        )

    models = Models(ruled(first))
    for known in more:
        models.add(ruled(known))
    return replace(
        pipeline,
        models=models,
        label=replace(pipeline.label, models=models),
        member=replace(pipeline.member, models=models),
        job=replace(pipeline.job, models=models),
    )


# The models that a worker knows.


def test_the_newest_is_the_one_with_the_largest_number_whenever_it_comes() -> None:
    models = Models(FIRST)
    assert models.newest is FIRST
    models.add(THIRD)
    models.add(SECOND)
    assert models.newest is THIRD
    assert models.get("model-5") is SECOND


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelMissingError, match="model-5 is not here yet") as raised:
        Models(FIRST).get("model-5")
    assert raised.value.version == "model-5"


def test_a_model_for_other_features_is_refused_and_the_one_before_stays() -> None:
    models = Models(FIRST)
    with pytest.raises(ModelRefusedError, match="for features two-and-two"):
        models.add(model(5, schema=FeatureSchema("two-and-two", 2, 2)))
    assert models.newest is FIRST


@pytest.mark.parametrize(
    "scales",
    [Standardisation(5.0), Standardisation(20.0, np.array([1.0])), Standardisation(20.0, 0.0, np.array([2.0]))],
)
@pytest.mark.parametrize("side", ["member", "job"])
def test_a_model_with_other_feature_scales_is_refused(side: str, scales: Standardisation) -> None:
    # A member's effect is over the job's features.
    field = "job_effect" if side == "member" else "member_effect"
    other = replace(SECOND, **{field: replace(getattr(SECOND, field), features=scales)})
    with pytest.raises(ModelRefusedError, match=f"{side} features on other scales than model model-0"):
        Models(FIRST).add(other)


def test_plain_features_are_those_of_a_group_that_began_without_a_bundle() -> None:
    plain = Standardisation(20.0, np.zeros(1), np.ones(1))
    models = Models(replace(FIRST, feature_schema=None))
    models.add(replace(SECOND, member_effect=replace(SECOND.member_effect, features=plain)))
    assert models.newest.number == 5


def test_a_group_that_began_without_a_bundle_is_told_the_option_that_helps_it() -> None:
    other = replace(SECOND, member_effect=replace(SECOND.member_effect, features=Standardisation(5.0)))
    with pytest.raises(ModelRefusedError, match="began without a bundle: train it with --plain-features"):
        Models(replace(FIRST, feature_schema=None)).add(other)


# The label stage.


def labelled(pipeline: Pipeline, state: MemoryState, *events: object) -> list[Label]:
    outcome = pipeline.label.process(0, as_records(events), state, MemoryState())  # type: ignore[arg-type]
    state.apply(outcome.changes)
    return labels_of(outcome.messages)


def test_labels_name_the_model_by_which_they_are_scored_and_it_changes_between_chunks() -> None:
    state = MemoryState()
    (first,) = labelled(stages(), state, application("a"))
    (second,) = labelled(stages(SECOND), state, application("b"))
    assert (first.model_version, first.model_number) == ("model-0", 0)
    assert (second.model_version, second.model_number) == ("model-5", 5)
    assert first.global_log_odds == pytest.approx(np.log(0.25 / 0.75))
    assert second.global_log_odds == pytest.approx(np.log(0.75 / 0.25))
    # A revision is scored anew, as the stage scores then.
    (revised,) = labelled(stages(SECOND), state, engagement(application_id="a"))
    assert (revised.application_id, revised.model_number) == ("a", 5)


def test_a_worker_that_takes_over_goes_on_with_the_model_of_the_table() -> None:
    state = MemoryState()
    labelled(stages(SECOND, THIRD), state, application("a"))
    knows_all = stages(SECOND, THIRD)
    assert labelled(knows_all, state, application("b"))[0].model_number == 6
    # It has not heard of the model yet: nothing is labelled by an older one after a newer one.
    for behind in (stages(), stages(SECOND)):
        before = items(state)
        with pytest.raises(ModelMissingError, match="model-6"):
            labelled(behind, state, application("c"))
        assert items(state) == before


def test_a_group_without_a_bundle_keeps_the_features_that_it_has_adopted() -> None:
    state, without = MemoryState(), replace(FIRST, feature_schema=None)
    labelled(stages(first=without), state, application("a"))
    other = model(5, schema=FeatureSchema("three", 3, 1))
    outcome = stages(other, first=without).label.process(0, as_records([application("b")]), state, MemoryState())
    assert labels_of(outcome.messages)[0].model_number == 0
    # It is said, and is no input that was in vain.
    ((reason, count),) = outcome.counted.items()
    assert count == 0
    assert reason.startswith("model model-5 is for features three (3 of the member, 1 of the job), not for two-and-one")
    assert labelled(stages(SECOND, first=without), state, application("b"))[0].model_number == 5


# The learners.


def told(rows: Sequence[tuple[int, int, int]]) -> list[Label]:
    """Return labels of three members: of which application, with which value, by which model."""
    versions = {known.number: known.version for known in (FIRST, SECOND, THIRD)}
    return [
        label(
            f"application-{number}",
            member_id=f"member-{number % 3}",
            revision=revision,
            value=value,
            job_features=[float(number) - 2.0],
            global_log_odds=0.1 * by,
            happened_at=START + revision * DAY,
            watermark=START,
            model_number=by,
            model_version=versions[by],
        )
        for revision, (number, value, by) in enumerate(rows, start=1)
    ]


rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.sampled_from([0, 5, 6])), max_size=20)
every_rule = pytest.mark.parametrize("rule", ["adaptive-sgd", "sgd", "window"])


def learned(
    events: Sequence[Label], cuts: Sequence[int], rule: str = "adaptive-sgd"
) -> tuple[MemoryState, list[Message]]:
    """Return the member's table and all that is sent, where the log is cut into chunks at ``cuts``."""
    stage, state = stages(SECOND, THIRD, rule=rule).member, MemoryState()
    messages: list[Message] = []
    records = as_records(events)
    ends = [*sorted(cuts), len(records)]
    for start, end in zip([0, *ends], ends, strict=False):
        outcome = stage.process(0, records[start:end], state)
        state.apply(outcome.changes)
        messages += outcome.messages
    return state, messages


@every_rule
@settings(max_examples=60)
@given(rows, st.lists(st.integers(0, 20), max_size=4))
def test_any_cut_into_chunks_learns_the_same_wherever_models_change(
    rule: str, rows: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    events = told(rows)
    cut, sent = learned(events, cuts, rule)
    single, sent_singly = learned(events, range(len(events)), rule)
    assert items(cut) == items(single)
    for topic in (TOPICS.scores, TOPICS.examples, TOPICS.dead_letters):
        assert [m for m in sent if m.topic == topic] == [m for m in sent_singly if m.topic == topic]


@every_rule
@settings(max_examples=60)
@given(rows, st.lists(st.integers(0, 20), max_size=4))
def test_deltas_go_on_across_a_switch_and_add_up_to_what_the_table_says(
    rule: str, rows: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    state, sent = learned(told(rows), cuts, rule)
    held: defaultdict[str, tuple[int, Floats]] = defaultdict(lambda: (0, np.zeros(2)))
    for delta in deltas(sent):
        version, vector = held[delta.entity_id]
        assert delta.base_version == version
        held[delta.entity_id] = delta.version, vector + np.array(delta.change)
    effect = stages(SECOND, THIRD, rule=rule).member.effect
    scales = {known.number: known.member_effect.prior.scale(2) for known in (FIRST, SECOND, THIRD)}
    for entity_id, (version, vector) in held.items():
        (record,) = unpack_many(entity_type(effect.rule, 2), state.get_many([entity_key(entity_id)]))
        assert record["version"] == version
        published = effect.published(record["coefficients"][np.newaxis], scales[int(record["model"])])
        assert published[0].tobytes() == vector.tobytes()


def deltas(messages: Sequence[Message]) -> list[Delta]:
    return [Delta.model_validate_json(m.value or b"") for m in messages if m.topic == TOPICS.coefficients]


def test_what_was_learned_is_carried_over_and_what_follows_names_the_new_model() -> None:
    events = told([(0, 1, 0), (3, 1, 5)])
    _, before = learned(events[:1], [])
    state, after = learned(events, [])
    assert [delta.model_version for delta in deltas(after)] == ["model-0", "model-5"]
    # The member's score by the new model is what the servers held of it under the one before.
    example = next(
        orjson.loads(m.value or b"") for m in after if m.topic == TOPICS.examples and b"tion-3" in (m.value or b"")
    )
    vector = np.array(deltas(before)[0].change)
    assert example["member_log_odds"] == pytest.approx(vector @ [1.0, 1.0], abs=1e-6)
    assert (example["model_version"], example["model_number"]) == ("model-5", 5)
    assert b"model-5" in items(state)[b"whitenings"]


def test_a_label_of_an_older_model_is_learned_by_the_newer_one() -> None:
    first, older, last = told([(0, 1, 5), (3, 1, 0), (0, 0, 5)])
    newer = older.model_copy(update={"model_number": 5, "model_version": "model-5"})
    assert items(learned([first, older, last], [])[0]) == items(learned([first, newer, last], [])[0])


def test_a_learner_stops_before_a_label_of_a_model_that_is_not_here() -> None:
    with pytest.raises(ModelMissingError, match="model-5"):
        stages().member.process(0, as_records(told([(0, 1, 0), (1, 1, 5)])), MemoryState())


def test_a_label_that_names_no_model_is_of_the_first() -> None:
    text = label().model_dump(exclude={"model_version", "model_number"})
    assert Label.model_validate(text).model_number == 0
