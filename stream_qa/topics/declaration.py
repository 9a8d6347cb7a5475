"""What a topic must be: one YAML file a topic, read and checked."""

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from stream_qa.errors import TopicsError
from stream_qa.events import TopicNames

NAMES = TopicNames()
#: Partition p of all of these belongs to the same worker, so they must have equally many.
CO_PARTITIONED = NAMES.partitioned_together()

ASYNCAPI = "asyncapi.yaml"
"""The document that is beside the declarations, and made of them."""
CLEANUP_POLICY = "cleanup.policy"


def _as_kafka_writes_it(value: object) -> object:
    """Return a YAML number or boolean as the text that a broker gives for it; leave all else to validation."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


ConfigValue = Annotated[str, BeforeValidator(_as_kafka_writes_it)]


class TopicDeclaration(BaseModel):
    """One topic as its file declares it. Its name on the broker has the worker group's prefix in front."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")]
    description: Annotated[str, Field(min_length=1)]
    key: Annotated[str, Field(min_length=1, description="what the messages are keyed by")]
    message: Annotated[
        Literal[
            "Application",
            "Engagement",
            "Label",
            "Example",
            "Score",
            "Notification",
            "Delta",
            "Snapshot",
            "Tick",
            "PublishedModel",
            "Generation",
            "bytes",
        ],
        Field(description="the schema, topics/schemas/<message>.json, or bytes"),
    ]
    workers: Annotated[
        list[Literal["read", "write"]], Field(description="what workers do; what they do not, others or commands do")
    ]
    partitions: Annotated[int, Field(ge=1)]
    replication_factor: Annotated[int, Field(ge=1, le=32_767)]
    config: dict[str, ConfigValue]

    @field_validator("config")
    @classmethod
    def _says_how_it_is_cleaned(cls, config: dict[str, str]) -> dict[str, str]:
        if config.get(CLEANUP_POLICY) not in {"delete", "compact"}:
            raise ValueError(f"{CLEANUP_POLICY} must be declared: delete or compact")
        return config


def load_declarations(directory: Path | None = None) -> list[TopicDeclaration]:
    """Read the declarations of all topics, sorted by name.

    Parameters
    ----------
    directory
        Where the files are; by default those that come with the project.

    Raises
    ------
    TopicsError
        A file cannot be read or is no declaration, or together they are not what the workers need.
    """
    directory = _default_directory() if directory is None else directory
    declarations = [_load(path) for path in sorted(directory.glob("*.yaml")) if path.name != ASYNCAPI]
    check(declarations)
    return declarations


def check(declarations: Sequence[TopicDeclaration]) -> None:
    """Check that all topics are declared and no others, and that the co-partitioned ones have equal counts.

    Raises
    ------
    TopicsError
        They are not, or they have not.
    """
    declared = {declaration.name for declaration in declarations}
    needed = set(astuple(NAMES))
    if missing := sorted(needed - declared):
        raise TopicsError(f"not declared: {', '.join(missing)}")
    if unknown := sorted(declared - needed):
        raise TopicsError(f"declared, but no topic of this project: {', '.join(unknown)}")
    counts = {declaration.name: declaration.partitions for declaration in declarations}
    if len({counts[name] for name in CO_PARTITIONED}) > 1:
        given = ", ".join(f"{name} {counts[name]}" for name in CO_PARTITIONED)
        raise TopicsError(f"these topics must have equally many partitions: {given}")


def _default_directory() -> Path:
    """Return the directory inside the installed package, or in a checkout the one at the top of the repository."""
    packaged = Path(__file__).parent / "declared"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "topics"


def _load(path: Path) -> TopicDeclaration:
    try:
        declaration = TopicDeclaration.model_validate(yaml.safe_load(path.read_bytes()))
    except (OSError, yaml.YAMLError) as error:
        raise TopicsError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in detail['loc']) or 'the file'}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)
        ]
        raise TopicsError(f"{path}: {'; '.join(problems)}") from None
    # One file a topic, found by its name: this also rules out that a topic is declared twice.
    if declaration.name != path.stem:
        raise TopicsError(f"{path}: declares {declaration.name}; the file must have the topic's name")
    return declaration
