"""`stream-qa models`: publishing, listing, comparing and going back, on a real topic."""

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from bundles import retrained
from evaluation_ground import EvaluationGround
from ground import new_ground
from typer.testing import CliRunner, Result

from stream_qa.bundle import Bundle
from stream_qa.cli import application
from stream_qa.errors import RollbackError

pytestmark = pytest.mark.kafka


@pytest.fixture
def first(broker: str, tmp_path: Path, evaluation_ground: EvaluationGround, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Give the bundle with which a group begins; our own commands are about that group."""
    ground = new_ground(broker, tmp_path, bundle=evaluation_ground.bundle.directory)
    ground.set_for_commands(monkeypatch)
    return evaluation_ground.bundle


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application, ["models", *arguments])


def models(*arguments: str) -> Any:  # noqa: ANN401 # JSON
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout)


def in_use() -> list[str]:
    return [one["version"] for one in models("list") if one["in_use"]]


def test_the_newest_that_fits_is_in_use(first: Bundle, tmp_path: Path) -> None:
    assert models("list") == []
    second = retrained(first, tmp_path / "second", precision=2.0)
    other_scales = retrained(first, tmp_path / "other", bound=3.0)
    for bundle in (second, other_scales):
        models("publish", str(bundle.directory))
    assert in_use() == [second.version]
    assert "other scales" in models("list")[1]["problem"]
    shown = run("list").stdout.splitlines()
    assert shown[0].endswith("in use")
    assert "refused: it puts member features on other scales" in shown[1]


def test_going_back_publishes_the_one_before_and_again_the_one_before_that(first: Bundle, tmp_path: Path) -> None:
    second, third = (retrained(first, tmp_path / name, precision=p) for name, p in (("second", 2.0), ("third", 3.0)))
    for bundle in (second, third):
        models("publish", str(bundle.directory))
    back = models("rollback")
    assert (back["number"], back["version"], back["withdraws"]) == (3, second.version, third.version)
    assert in_use() == [second.version]
    assert [one["version"] for one in models("list") if one["rolled_back"]] == [third.version]
    # Not forward to the one that was no good: back to the one with which the group began.
    assert models("rollback")["version"] == first.version
    assert in_use() == [first.version]
    assert isinstance(run("rollback").exception, RollbackError)

    assert models("rollback", third.version)["withdraws"] == first.version
    assert in_use() == [third.version]


def test_it_does_not_go_back_to_what_cannot_be_used(first: Bundle, tmp_path: Path) -> None:
    assert isinstance(run("rollback").exception, RollbackError)
    second, third = (retrained(first, tmp_path / name, precision=p) for name, p in (("second", 2.0), ("third", 3.0)))
    for bundle in (second, third):
        models("publish", str(bundle.directory))
    shutil.rmtree(second.directory)
    for version, said in ((second.version, "lacks"), (third.version, "in use already"), ("none", "never published")):
        refused = run("rollback", version)
        assert isinstance(refused.exception, RollbackError)
        assert said in str(refused.exception)
    # The one before cannot be read, so it is the one before that.
    assert models("rollback")["version"] == first.version


def test_bundles_are_compared_by_their_directories_or_versions(first: Bundle, tmp_path: Path) -> None:
    second = retrained(first, tmp_path / "second", precision=2.0)
    models("publish", str(second.directory))
    found = models("diff", str(first.directory), second.version)
    assert found["versions"] == [first.version, second.version]
    assert second.version in run("diff", str(first.directory), str(second.directory)).stdout
