"""Where bundles and reports are kept: whole or not there, and for as long as they are needed."""

import os
from datetime import UTC, datetime
from pathlib import Path

from stream_qa.bundle import MANIFEST
from stream_qa.retraining.shelf import Shelf, report_name


def shelf_with(directory: Path, *versions: str) -> Shelf:
    """Return a shelf with bundles, the oldest first."""
    shelf = Shelf(directory)
    for moment, version in enumerate(versions):
        (directory / version).mkdir()
        (directory / version / MANIFEST).touch()
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
    shelf = shelf_with(tmp_path, "a", "b", ".aside")
    assert shelf.versions() == ["b", "a"]
    assert shelf.clear(1, set(), set()) == ["a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "reports"]


def test_reports_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 29, 3, 4, 5, tzinfo=UTC)
    path = Shelf(tmp_path).report(report_name(moment, "2026-11-08-abc"), {"json": b"{}", "md": b"#"})
    assert path == tmp_path / "reports" / "2026-11-29T03-04-05-2026-11-08-abc.json"
    assert sorted(one.name.rpartition(".")[2] for one in path.parent.iterdir()) == ["json", "md"]
