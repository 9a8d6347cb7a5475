"""Where bundles and reports are kept: whole or not there, and for as long as they are needed."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from evaluation_ground import EvaluationGround

from stream_qa.bundle import MANIFEST, load_bundle
from stream_qa.errors import RetrainingError
from stream_qa.retraining.shelf import Shelf, report_name


def shelf_with(directory: Path, *versions: str) -> Shelf:
    """Return a shelf with bundles, the oldest first."""
    shelf = Shelf(directory)
    for moment, version in enumerate(versions):
        (directory / version).mkdir()
        (directory / version / MANIFEST).write_text(f'{{"version": "{version}"}}')
        os.utime(directory / version / MANIFEST, (moment, moment))
    return shelf


def test_the_newest_stay_of_those_that_were_published_and_of_the_others(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path, "a-published", "b", "c-published", "d", "e", "f-published", "g")
    gone = shelf.clear(2, set(), {"a-published", "c-published", "f-published"})
    assert gone == ["d", "b", "a-published"]
    assert shelf.versions() == ["g", "f-published", "e", "c-published"]


def test_what_is_needed_stays_however_old(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path, "a", "b", "c", "d")
    assert shelf.clear(1, {"a"}, set()) == ["c", "b"]
    assert shelf.versions() == ["d", "a"]


def test_what_a_killed_one_has_left_is_no_bundle(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path, "a", "b", "c")
    (tmp_path / "c").rename(tmp_path / ".aside")
    assert shelf.versions() == ["b", "a"]
    assert shelf.clear(1, set(), set()) == ["a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "reports"]


def test_a_bundle_that_somebody_put_here_is_not_cleared_away(
    tmp_path: Path, evaluation_ground: EvaluationGround
) -> None:
    shutil.copytree(evaluation_ground.bundle.directory, tmp_path / "bundle")
    os.utime(tmp_path / "bundle" / MANIFEST, (0, 0))
    shelf = shelf_with(tmp_path, *"abcdefgh")
    assert shelf.clear(1, {evaluation_ground.bundle.version}, set()) == list("gfedcba")
    assert shelf.versions() == ["h"]
    assert load_bundle(tmp_path / "bundle").version == evaluation_ground.bundle.version


def test_a_manifest_of_somebody_else_that_cannot_be_read_keeps_nothing_from_being_cleared_away(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path, "a", "b")
    (tmp_path / "theirs" / MANIFEST).mkdir(parents=True)
    assert shelf.clear(1, set(), set()) == ["a"]


def test_what_cannot_be_cleared_away_is_said(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path, "a", "b")
    (tmp_path / ".aside").touch()
    with pytest.raises(RetrainingError, match="cannot be written"):
        shelf.clear(1, set(), set())


def test_reports_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 29, 3, 4, 5, tzinfo=UTC)
    path = Shelf(tmp_path).report(report_name(moment, "2026-11-08-abc"), {"json": b"{}", "md": b"#"})
    assert path == tmp_path / "reports" / "2026-11-29T03-04-05-2026-11-08-abc.json"
    assert sorted(one.name.rpartition(".")[2] for one in path.parent.iterdir()) == ["json", "md"]
