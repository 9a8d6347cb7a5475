"""Coefficients in the names of the feature schema, for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_qa.errors import FeatureNamesError
from stream_qa.events import EntityKind
from stream_qa.learning.arrays import Floats

Names = list[Annotated[str, Field(min_length=1)]]


class Named(NamedTuple):
    """One coefficient, or how much it moved."""

    name: str
    value: float


class FeatureNames(BaseModel):
    """What the features are called, in the order of the feature schema; by their numbers where that is not said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    member_features: Names | None = None
    job_features: Names | None = None

    def strongest(self, side: EntityKind, vector: Floats, count: int) -> list[Named]:
        """Return the ``count`` coefficients furthest from 0, intercept aside, the furthest first; none that are 0.

        Parameters
        ----------
        side
            Whose coefficients they are: a member's are over job features, a job's over member features.
        vector
            Shape ``(d,)``, the intercept first.
        count
            The most that are returned.

        Raises
        ------
        FeatureNamesError
            There are not as many names as features, or two are the same.
        """
        names = (self.of_jobs if side == "member" else self.of_members)(len(vector) - 1)
        named = [Named(name, value) for name, value in zip(names, vector[1:].tolist(), strict=True) if value]
        return sorted(named, key=lambda each: -abs(each.value))[:count]

    def of_members(self, count: int) -> Sequence[str]:
        """Return the names of a member's features.

        Raises
        ------
        FeatureNamesError
            There are not ``count`` names, or two are the same.
        """
        return _checked("member_features", self.member_features, count)

    def of_jobs(self, count: int) -> Sequence[str]:
        """Return the names of a job's features; see :meth:`of_members`."""
        return _checked("job_features", self.job_features, count)


def _checked(what: str, names: Names | None, count: int) -> Sequence[str]:
    if names is None:
        return [f"feature {number}" for number in range(1, 1 + count)]
    if len(names) != count:
        raise FeatureNamesError(f"{len(names)} names of {what}, where there are {count}")
    if len(set(names)) < count:
        raise FeatureNamesError(f"two {what} have one name")
    return names


def load_feature_names(path: Path | None) -> FeatureNames:
    """Read names from a YAML file; without one, features are called by their numbers.

    Raises
    ------
    FeatureNamesError
        The file cannot be read, or says something else.
    """
    if path is None:
        return FeatureNames()
    try:
        content = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise FeatureNamesError(f"the feature names {path} cannot be read: {error}") from error
    try:
        return FeatureNames.model_validate({} if content is None else content)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in detail["loc"]) or "the file"
        raise FeatureNamesError(f"the feature names {path} are wrong at {place}: {detail['msg']}") from error
