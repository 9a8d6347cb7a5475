"""The policies to begin with, and the one of the page: each is valid and says what it says it says."""

import re
from pathlib import Path

import pytest
import yaml
from builders import DAY, START, application, engagement
from label_partition import LabelPartition

from stream_qa.labels import LabelPolicy, load_policy

REPOSITORY = Path(__file__).parents[2]
POLICIES = {path.stem: load_policy(path) for path in sorted((REPOSITORY / "examples" / "policies").glob("*.yaml"))}


def test_there_are_three() -> None:
    assert set(POLICIES) == {"profile-view", "message", "offer"}


def test_the_policy_of_the_page_is_the_built_in_one() -> None:
    page = (REPOSITORY / "docs" / "labels.md").read_text()
    [text] = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert LabelPolicy.model_validate(yaml.safe_load(text)) == LabelPolicy()
    assert set(yaml.safe_load(text)) == set(LabelPolicy.model_fields)


@pytest.mark.parametrize(
    ("name", "kinds", "label"),
    [
        ("profile-view", ["profile_view"], "positive"),
        ("profile-view", ["profile_view", "rejection"], "positive"),
        ("message", ["profile_view"], "open"),
        ("message", ["profile_view", "message"], "positive"),
        ("message", ["message", "rejection"], "positive"),
        ("offer", ["message", "interview"], "open"),
        ("offer", ["interview", "rejection"], "negative"),
        ("offer", ["rejection", "offer"], "positive"),
    ],
)
def test_each_counts_what_it_says(name: str, kinds: list[str], label: str) -> None:
    partition = LabelPartition(POLICIES[name])
    engagements = [engagement(kind, engaged_at=START + day * DAY) for day, kind in enumerate(kinds, 1)]
    partition.take(application(), *engagements)
    assert partition.labels[-1].kind == label


@pytest.mark.parametrize(("name", "weight"), [("profile-view", 1.0), ("message", 0.75), ("offer", None)])
def test_silence_says_what_each_lets_it(name: str, weight: float | None) -> None:
    partition = LabelPartition(POLICIES[name])
    later = application("later", applied_at=START + 1)
    partition.take(application(), later, engagement("offer", application_id="later"))
    [*_, last] = partition.history["application-1"]
    assert (last.weight if last.kind == "provisional" else None) == weight
