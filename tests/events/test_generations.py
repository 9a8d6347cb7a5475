"""Generations beside each other: nothing that one writes has a name that another one reads or writes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.events import TopicNames
from stream_qa.events.topics import is_of_any_generation
from stream_qa.settings import Settings
from stream_qa.streaming.membership import instance_id

PREFIXES = st.text("abcxyz019-._g", max_size=12)
GENERATIONS = st.integers(1, 1_000_000)


def test_the_first_generation_has_the_names_that_there_always_were() -> None:
    assert TopicNames.with_prefix("eu-", 1) == TopicNames.with_prefix("eu-")
    assert TopicNames.with_prefix("eu-").labels == "eu-labels"
    settings = Settings(app_id="workers", data_directory=Path("state"))
    assert (settings.group_id, settings.state_directory) == ("workers", Path("state"))


def test_a_later_generation_has_all_for_itself_but_the_inputs_and_who_serves() -> None:
    second = TopicNames.with_prefix("eu-", 2)
    assert second.shared() == ("eu-applications", "eu-engagements", "eu-generations")
    assert second.own() == (
        "eu-ticks.g2",
        "eu-labels.g2",
        "eu-examples.g2",
        "eu-scores.g2",
        "eu-notifications.g2",
        "eu-coefficients.g2",
        "eu-coefficient-snapshots.g2",
        "eu-models.g2",
        "eu-dead-letters.g2",
        "eu-label-changelog.g2",
        "eu-member-changelog.g2",
        "eu-job-changelog.g2",
        "eu-notify-changelog.g2",
    )
    settings = Settings(app_id="workers", data_directory=Path("state"), generation=2)
    assert (settings.group_id, settings.state_directory) == ("workers.g2", Path("state/g2"))


@given(PREFIXES, GENERATIONS, GENERATIONS)
def test_no_two_generations_share_anything_that_they_write(prefix: str, one: int, other: int) -> None:
    if one == other:
        return
    ones, others = (
        Settings(topic_prefix=prefix, app_id=prefix + "workers", generation=generation) for generation in (one, other)
    )
    assert not set(ones.topics.own()) & set(others.topics.all())
    assert ones.topics.shared() == others.topics.shared()
    assert ones.group_id != others.group_id
    assert instance_id(ones) != instance_id(others)
    written = [{each.state_directory / name for name in ("lock", "tables", "faust")} for each in (ones, others)]
    assert not written[0] & written[1]


@given(PREFIXES, GENERATIONS)
def test_a_name_leads_back_to_its_declaration(prefix: str, generation: int) -> None:
    names = TopicNames.with_prefix(prefix, generation)
    assert tuple(map(names.declared, names.all())) == TopicNames().all()
    assert tuple(map(names.of_declared, TopicNames().all())) == names.all()
    assert all(is_of_any_generation(name, prefix) for name in names.all())


@pytest.mark.parametrize(
    "name",
    ["us-labels", "eu-label", "eu-labels.g1", "eu-labels.g", "eu-labels.g02", "eu-labels.g2.g3", "eu-applications.g2"],
)
def test_other_names_are_of_no_generation(name: str) -> None:
    assert not is_of_any_generation(name, "eu-")
