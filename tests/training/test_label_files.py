"""Labels as Parquet files: what is read is what was written, and a killed export leaves nothing that counts half."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest
from builders import DAY, START, label
from msgspec import Raw, json

from stream_qa.errors import ExportError, MissingExtraError
from stream_qa.events import wire
from stream_qa.streaming.label_topic import LabelBatch, PlacedLabel
from stream_qa.training.label_files import exported_labels, open_export, read_manifest

_decode = json.Decoder(wire.Label).decode


def placed(offset: int, **fields: Any) -> PlacedLabel:  # noqa: ANN401 # those of a label
    return PlacedLabel(1, offset, _decode(label(f"application-{offset}", **fields).model_dump_json().encode()))


def batch(*labels: PlacedLabel) -> LabelBatch:
    return LabelBatch(list(labels), {0: 0, 1: labels[-1].offset + 1}, 0, 0)


def killed_after(renames: int) -> Callable[[Path, Path], Path]:
    """Return a rename that works so often, and is then the end, as where a process is killed."""
    rename = Path.rename

    def dying(path: Path, target: Path) -> Path:
        nonlocal renames
        renames -= 1
        if renames < 0:
            raise KeyboardInterrupt
        return rename(path, target)

    return dying


def parts(one: wire.Label) -> list[Any]:
    """Return a label's fields; vectors as numbers, however they are written."""
    fields = [getattr(one, name) for name in wire.Label.__struct_fields__]
    return [wire.vector(field) if isinstance(field, Raw) else field for field in fields]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    first = placed(0, value=None, global_log_odds=0.1 + 0.2, member_features=[1e-300, -0.1])
    second = placed(1, value=1, reason="explicit:message", final=True, happened_at=START + DAY, model_version="later")
    third = placed(2, value=0, weight=1 / 3, reason="silence:curve", member_features=[], job_features=[])
    with open_export(tmp_path, "labels") as files:
        files.add(batch(first, second))
        files.add(batch(third))
    found = sorted(exported_labels(tmp_path), key=lambda one: one.application_id)
    assert [parts(one) for one in found] == [parts(one.label) for one in (first, second, third)]
    with open_export(tmp_path, "labels") as again:
        assert again.manifest == files.manifest
    assert files.manifest.next_offsets == {0: 0, 1: 3}


def test_others_read_it_as_a_data_set_of_days(tmp_path: Path) -> None:
    with open_export(tmp_path, "labels") as files:
        files.add(batch(placed(0), placed(1, happened_at=START + DAY)))
    table = pyarrow.dataset.dataset(tmp_path, format="parquet", partitioning="hive").to_table()
    rows = sorted(table.to_pylist(), key=lambda row: row["offset"])
    assert [(row["day"], row["offset"]) for row in rows] == [("2026-01-05", 0), ("2026-01-06", 1)]
    assert rows[0]["applied_at"].isoformat() == "2026-01-05T00:00:00+00:00"


@pytest.mark.parametrize("renames", range(3))
def test_a_killed_export_leaves_nothing_that_counts_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    with open_export(tmp_path, "labels") as files:
        files.add(batch(placed(0)))
    # A file for each of two days, then the manifest.
    with open_export(tmp_path, "labels") as files, monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed_after(renames))
        with pytest.raises(KeyboardInterrupt):
            files.add(batch(placed(1), placed(2, happened_at=START + DAY)))
    assert [one.application_id for one in exported_labels(tmp_path)] == ["application-0"]

    # The next one reads from the same place, and may find more and cut it otherwise.
    with open_export(tmp_path, "labels") as again:
        assert again.manifest.next_offsets == {0: 0, 1: 1}
        again.add(batch(placed(1)))
        again.add(batch(placed(2, happened_at=START + DAY), placed(3)))
    assert sorted(one.application_id for one in exported_labels(tmp_path)) == [f"application-{n}" for n in range(4)]
    assert len(list(tmp_path.rglob("*.parquet"))) == 4
    assert not list(tmp_path.rglob(".aside-*"))


@pytest.mark.parametrize("renames", range(4))
def test_a_first_export_that_was_killed_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    # A manifest of nothing, a file for each of two days, then the manifest.
    labels = batch(placed(0), placed(1, happened_at=START + DAY))
    with open_export(tmp_path, "labels") as files, monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed_after(renames))
        with pytest.raises(KeyboardInterrupt):
            files.add(labels)
    with open_export(tmp_path, "labels") as again:
        again.add(labels)
    assert sorted(one.application_id for one in exported_labels(tmp_path)) == ["application-0", "application-1"]


def test_labels_whose_manifest_is_missing_are_kept(tmp_path: Path) -> None:
    with open_export(tmp_path, "labels") as files:
        files.add(batch(placed(0)))
    (tmp_path / "_manifest.json").unlink()
    with pytest.raises(ExportError, match=r"has labels but no _manifest\.json"), open_export(tmp_path, "labels"):
        pass
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_one_export_at_a_time(tmp_path: Path) -> None:
    with open_export(tmp_path, "labels") as files:
        with pytest.raises(ExportError, match="another export writes into"), open_export(tmp_path, "labels"):
            pass
        files.add(batch(placed(0)))
    with open_export(tmp_path, "labels") as later:
        assert later.manifest.labels == 1


def test_a_batch_without_labels_moves_on_and_writes_no_file(tmp_path: Path) -> None:
    with open_export(tmp_path, "labels") as files:
        files.add(LabelBatch([], {0: 7}, 1, 0))
    assert read_manifest(tmp_path).next_offsets == {0: 7}
    assert list(exported_labels(tmp_path)) == []


def test_what_is_no_export_of_this_topic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no export of labels"):
        list(exported_labels(tmp_path))
    with open_export(tmp_path, "labels") as files:
        files.add(batch(placed(0)))
    said = "labels of the topic labels, not of eu-labels"
    with pytest.raises(ExportError, match=said), open_export(tmp_path, "eu-labels"):
        pass
    [file] = tmp_path.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ExportError, match="cannot be read"):
        list(exported_labels(tmp_path))
    (tmp_path / "_manifest.json").write_text('{"format": 2}')
    with pytest.raises(ExportError), open_export(tmp_path, "labels"):
        pass


def test_a_missing_extra_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"stream-qa\[parquet\]"), open_export(tmp_path, "labels"):
        pass
