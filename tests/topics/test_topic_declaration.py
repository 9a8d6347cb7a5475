from dataclasses import astuple
from pathlib import Path
from shutil import copytree

import pytest
import yaml

import stream_qa.events
from stream_qa.errors import TopicsError
from stream_qa.events import TopicNames
from stream_qa.topics import CO_PARTITIONED, TopicDeclaration, load_declarations

DECLARED = Path(__file__).parents[2] / "topics"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a copy of the declared topics that a test may spoil."""
    return copytree(DECLARED, tmp_path / "topics")


def spoil(directory: Path, name: str, /, **fields: object) -> None:
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))


def test_every_topic_is_declared_and_no_other() -> None:
    assert sorted(declaration.name for declaration in load_declarations()) == sorted(astuple(TopicNames()))


def test_the_default_directory_is_that_of_the_repository() -> None:
    assert load_declarations() == load_declarations(DECLARED)


def test_co_partitioned_topics_have_equal_counts() -> None:
    counts = {declaration.name: declaration.partitions for declaration in load_declarations()}
    assert {counts[name] for name in CO_PARTITIONED} == {4}
    assert counts["dead-letters"] == 1


def test_messages_are_schemas_of_the_events_package() -> None:
    for declaration in load_declarations():
        assert declaration.message == "bytes" or hasattr(stream_qa.events, declaration.message)


def test_state_is_compacted_and_never_forgotten_by_age() -> None:
    compacted = {d.name for d in load_declarations() if d.config["cleanup.policy"] == "compact"}
    changelogs = {"label-changelog", "member-changelog", "job-changelog", "notify-changelog"}
    assert compacted == {"models", "generations", "coefficient-snapshots", *changelogs}


def test_what_is_forgotten_by_age_is_so_by_its_arrival() -> None:
    for declaration in load_declarations():
        if declaration.config["cleanup.policy"] == "delete":
            assert "retention.ms" in declaration.config
            assert declaration.config["message.timestamp.type"] == "LogAppendTime"


def test_labels_outlive_the_inputs() -> None:
    retention = {d.name: int(d.config.get("retention.ms", 0)) for d in load_declarations()}
    day = 24 * 60 * 60 * 1000
    assert retention["labels"] == 400 * day
    assert retention["applications"] == retention["engagements"] == 60 * day


def test_configuration_values_are_text_as_a_broker_gives_it() -> None:
    declaration = TopicDeclaration(
        name="labels",
        description="What it is.",
        key="member_id",
        message="Label",
        workers=["read", "write"],
        partitions=1,
        replication_factor=1,
        config={"cleanup.policy": "delete", "retention.ms": 5, "preallocate": True},  # type: ignore[dict-item]
    )
    assert declaration.config == {"cleanup.policy": "delete", "retention.ms": "5", "preallocate": "true"}


def test_a_missing_declaration_is_refused(directory: Path) -> None:
    (directory / "scores.yaml").unlink()
    with pytest.raises(TopicsError, match="not declared: scores"):
        load_declarations(directory)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopicsError, match="not declared: applications"):
        load_declarations(tmp_path)


def test_an_unknown_declaration_is_refused(directory: Path) -> None:
    text = (directory / "scores.yaml").read_text()
    (directory / "companies.yaml").write_text(text.replace("name: scores", "name: companies"))
    with pytest.raises(TopicsError, match="no topic of this project: companies"):
        load_declarations(directory)


@pytest.mark.parametrize("name", CO_PARTITIONED)
def test_unequal_counts_are_refused(directory: Path, name: str) -> None:
    spoil(directory, name, partitions=5)
    with pytest.raises(TopicsError, match=f"equally many partitions: .*{name} 5"):
        load_declarations(directory)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"retention": "long"}, "retention: Extra inputs"),
        ({"partitions": 0}, "partitions: "),
        ({"partitions": "4"}, "partitions: "),
        ({"replication_factor": 0}, "replication_factor: "),
        ({"message": "Nonsense"}, "message: "),
        ({"description": ""}, "description: "),
        ({"config": {"retention.ms": 1}}, "cleanup.policy must be declared"),
        ({"config": {"cleanup.policy": ["delete"]}}, r"config\.cleanup\.policy: "),
        ({"name": "scores"}, "the file must have the topic's name"),
    ],
)
def test_a_wrong_declaration_is_refused_with_file_and_reason(
    directory: Path, fields: dict[str, object], reason: str
) -> None:
    spoil(directory, "labels", **fields)
    with pytest.raises(TopicsError, match=rf"labels\.yaml: .*{reason}"):
        load_declarations(directory)


@pytest.mark.parametrize("text", ["", "name: [", "- labels", "\x00"])
def test_a_file_that_is_no_declaration_is_refused(directory: Path, text: str) -> None:
    (directory / "labels.yaml").write_text(text)
    with pytest.raises(TopicsError, match=r"labels\.yaml: "):
        load_declarations(directory)
