import pytest

from stream_qa.errors import PartitionCountError
from stream_qa.topics import Action, ConfigChange, Plan, TopicDeclaration
from stream_qa.topics.plan import ExistingTopic, make_plan

LABELS = TopicDeclaration(
    name="labels",
    description="What it is.",
    key="member_id",
    message="Label",
    workers=["read", "write"],
    partitions=4,
    replication_factor=1,
    config={"cleanup.policy": "delete", "retention.ms": "1000"},
)
DEAD_LETTERS = LABELS.model_copy(update={"name": "dead-letters", "partitions": 1})
AS_DECLARED = ExistingTopic(4, 1, {"cleanup.policy": "delete", "retention.ms": "1000", "segment.ms": "7"})


def actions(plan: Plan) -> dict[str, Action]:
    return {topic.name: topic.action for topic in plan.topics}


def test_a_missing_topic_is_created_as_declared() -> None:
    plan = make_plan([LABELS], {})
    (topic,) = plan.topics
    assert (topic.name, topic.action, topic.partitions, topic.replication_factor) == ("labels", Action.CREATE, 4, 1)
    assert topic.config == LABELS.config
    assert plan.pending
    assert not plan.refused


def test_a_topic_as_declared_needs_nothing() -> None:
    plan = make_plan([LABELS], {"labels": AS_DECLARED})
    assert actions(plan) == {"labels": Action.NOTHING}
    assert not plan.pending


def test_a_key_that_is_not_declared_does_not_matter() -> None:
    config = {**AS_DECLARED.config, "segment.ms": "99", "compression.type": "zstd"}
    assert not make_plan([LABELS], {"labels": ExistingTopic(4, 1, config)}).pending


@pytest.mark.parametrize(
    ("config", "found"), [({"cleanup.policy": "delete"}, None), ({**AS_DECLARED.config, "retention.ms": "2"}, "2")]
)
def test_a_declared_key_that_differs_is_changed(config: dict[str, str], found: str | None) -> None:
    plan = make_plan([LABELS], {"labels": ExistingTopic(4, 1, config)})
    (topic,) = plan.having(Action.CHANGE)
    assert topic.changes == (ConfigChange("retention.ms", found, "1000"),)
    assert plan.pending


@pytest.mark.parametrize("count", [1, 3, 5])
def test_another_partition_count_is_refused_both_ways(count: int) -> None:
    plan = make_plan([LABELS, DEAD_LETTERS], {"labels": ExistingTopic(count, 1, {"retention.ms": "2"})})
    assert actions(plan) == {"labels": Action.REFUSE, "dead-letters": Action.CREATE}
    assert plan.refused
    with pytest.raises(PartitionCountError, match=f"labels has {count} partitions and must have 4"):
        plan.raise_if_refused()


def test_nothing_refused_raises_nothing() -> None:
    make_plan([LABELS], {}).raise_if_refused()


def test_the_prefix_stands_in_front_of_every_name() -> None:
    plan = make_plan([LABELS, DEAD_LETTERS], {"labels": AS_DECLARED}, prefix="eu-")
    assert actions(plan) == {"eu-labels": Action.CREATE, "eu-dead-letters": Action.CREATE}


def test_overriding_the_count_leaves_the_dead_letters_alone() -> None:
    plan = make_plan([LABELS, DEAD_LETTERS], {}, prefix="eu-", partitions=12)
    assert {topic.name: topic.partitions for topic in plan.topics} == {"eu-labels": 12, "eu-dead-letters": 1}


def test_an_overridden_count_is_what_an_existing_topic_must_have() -> None:
    assert make_plan([LABELS], {"labels": AS_DECLARED}, partitions=12).refused


def test_another_replication_factor_is_shown_and_left_alone() -> None:
    plan = make_plan([LABELS, DEAD_LETTERS], {"labels": AS_DECLARED}, replication_factor=3)
    assert actions(plan) == {"labels": Action.NOTHING, "dead-letters": Action.CREATE}
    assert [(topic.existing_replication_factor, topic.replication_factor) for topic in plan.topics] == [
        (1, 3),
        (None, 3),
    ]


def test_undeclared_topics_of_our_prefix_are_mentioned_only() -> None:
    existing = {"eu-old": AS_DECLARED, "eu-labels": AS_DECLARED, "us-labels": AS_DECLARED}
    plan = make_plan([LABELS], existing, prefix="eu-")
    assert plan.undeclared == ("eu-old",)
    assert not plan.pending


def test_a_generation_has_topics_of_its_own_and_leaves_those_of_others_alone() -> None:
    existing = {"eu-labels": AS_DECLARED, "eu-labels.g3": AS_DECLARED, "eu-labels.gx": AS_DECLARED}
    plan = make_plan([LABELS, DEAD_LETTERS], existing, prefix="eu-", generation=2)
    assert actions(plan) == {"eu-labels.g2": Action.CREATE, "eu-dead-letters.g2": Action.CREATE}
    assert plan.undeclared == ("eu-labels.gx",)
    assert make_plan([LABELS], existing, prefix="eu-").undeclared == ("eu-labels.gx",)


def test_without_a_prefix_no_topic_is_taken_for_ours() -> None:
    assert make_plan([LABELS], {"payments": AS_DECLARED}).undeclared == ()
