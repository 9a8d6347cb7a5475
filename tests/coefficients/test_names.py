"""Coefficients in the names of the feature schema."""

from pathlib import Path

import numpy as np
import pytest

from stream_qa.coefficients import FeatureNames, load_feature_names
from stream_qa.errors import FeatureNamesError

NAMES = FeatureNames(member_features=["experience", "distance"], job_features=["pay", "remote", "size"])
EXAMPLE = Path(__file__).parents[2] / "examples" / "github_pull_requests" / "feature_names.yaml"


def test_a_job_has_coefficients_of_member_features_and_a_member_of_job_features() -> None:
    assert NAMES.strongest("job", np.array([9.0, 0.5, -1.0]), 5) == [("distance", -1.0), ("experience", 0.5)]
    assert NAMES.strongest("member", np.array([9.0, 0.1, 0.2, 0.3]), 2) == [("size", 0.3), ("remote", 0.2)]


def test_a_coefficient_of_0_says_nothing() -> None:
    assert NAMES.strongest("job", np.array([9.0, 0.0, -1.0]), 5) == [("distance", -1.0)]


def test_features_without_names_are_called_by_their_numbers() -> None:
    found = load_feature_names(None).strongest("job", np.array([9.0, 0.5, -1.0]), 5)
    assert found == [("feature 2", -1.0), ("feature 1", 0.5)]


def test_names_of_another_schema_are_refused() -> None:
    with pytest.raises(FeatureNamesError, match="2 names of member_features, where there are 3"):
        NAMES.strongest("job", np.zeros(4), 5)


def test_names_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("member_features: [experience, distance]")
    assert load_feature_names(path) == FeatureNames(member_features=["experience", "distance"])
    path.write_text("")
    assert load_feature_names(path) == FeatureNames()


@pytest.mark.parametrize("wrong", ["features: [a]", "member_features: 7", "member_features: [a, 1]", "[", "- a"])
def test_what_is_no_file_of_names_is_refused(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(wrong)
    with pytest.raises(FeatureNamesError, match=r"names\.yaml"):
        load_feature_names(path)
    with pytest.raises(FeatureNamesError, match="cannot be read"):
        load_feature_names(tmp_path / "nowhere.yaml")


def test_the_example_names_its_14_and_11_features() -> None:
    names = load_feature_names(EXAMPLE)
    assert names.member_features is not None
    assert names.job_features is not None
    assert (len(names.member_features), len(names.job_features)) == (14, 11)
