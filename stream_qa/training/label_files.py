"""Labels as Parquet files, by the day (UTC) on which what they say happened: what training reads instead of the topic.

::

    DIRECTORY/_manifest.json                       which batches are whole, and where the topic is to be read on
    DIRECTORY/day=2026-11-29/labels-00000003.parquet

A batch is written beside its place and renamed; it counts when the manifest says so. So whoever is killed leaves
nothing that counts half, and whoever comes next removes what does not count.
"""

import fcntl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from msgspec import Raw
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_qa.durations import DAY
from stream_qa.errors import ExportError, MissingExtraError
from stream_qa.events import wire
from stream_qa.streaming.label_topic import LabelBatch, PlacedLabel

MANIFEST = "_manifest.json"
_ASIDE = ".aside-"
_TIMES = ("happened_at", "applied_at", "watermark")
_VECTORS = ("member_features", "job_features")
_FILES = "day=*/labels-*.parquet"
_LOCK = ".lock"
_AT_ONCE = 20_000

Whole = Annotated[int, Field(ge=0)]


class Manifest(BaseModel):
    """What is exported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    topic: str
    batches: Whole = 0
    """So many are whole: those with lower numbers."""
    labels: Whole = 0
    next_offsets: dict[int, Whole] = {}
    """Where the topic is to be read on, by partition."""


class LabelFiles:
    """A directory of exported labels that can be added to; :func:`open_export` gives one.

    Parameters
    ----------
    directory
        Where it is.
    manifest
        What is in it.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory = directory
        self.manifest = manifest

    def add(self, batch: LabelBatch) -> None:
        """Write a batch; when this returns it counts.

        Raises
        ------
        ExportError
            It cannot be written.
        """
        before = self.manifest
        by_day: defaultdict[int, list[PlacedLabel]] = defaultdict(list)
        for placed in batch.labels:
            by_day[placed.label.happened_at // DAY].append(placed)
        after = Manifest(
            topic=before.topic,
            batches=before.batches + bool(batch.labels),
            labels=before.labels + len(batch.labels),
            next_offsets=batch.next_offsets,
        )
        with _written(self._directory):
            if not (self._directory / MANIFEST).exists():
                # Before there are labels: labels without a manifest are those of an export that has lost it.
                self._write_manifest(before)
            for day, labels in sorted(by_day.items()):
                self._write(day, before.batches, labels)
            self._write_manifest(after)
        self.manifest = after

    def _write_manifest(self, manifest: Manifest) -> None:
        aside = self._directory / f"{_ASIDE}{MANIFEST}"
        aside.write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        aside.rename(self._directory / MANIFEST)

    def _write(self, day: int, batch: int, labels: Sequence[PlacedLabel]) -> None:
        from pyarrow import parquet  # noqa: PLC0415 # an extra: not everybody has it

        directory = self._directory / f"day={datetime.fromtimestamp(day * DAY / 1000, UTC):%Y-%m-%d}"
        directory.mkdir(exist_ok=True)
        path = directory / _name(batch)
        aside = path.with_name(f"{_ASIDE}{path.name}")
        parquet.write_table(_table(labels), aside, compression="zstd")
        aside.rename(path)


@contextmanager
def open_export(directory: Path, topic: str) -> Iterator[LabelFiles]:
    """Give a directory of exported labels to add to; nobody else adds to it meanwhile.

    Parameters
    ----------
    directory
        Where it is; made where it does not exist.
    topic
        The topic whose labels are in it.

    Raises
    ------
    ExportError
        It cannot be read or written, has the labels of another topic or labels without a manifest, or another export
        writes into it.
    MissingExtraError
        The extra ``parquet`` is not installed.
    """
    check_parquet()
    with ExitStack() as stack:
        with _written(directory):
            directory.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((directory / _LOCK).open("w"))
        try:
            # Released with the file, also where this process is killed.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ExportError(f"another export writes into {directory}") from error
        manifest = _standing(directory, topic)
        with _written(directory):
            _clear(directory, manifest)
        yield LabelFiles(directory, manifest)


def _standing(directory: Path, topic: str) -> Manifest:
    """Return what a directory has of a topic, and refuse one that has something else."""
    if not (directory / MANIFEST).exists():
        if any(directory.glob(_FILES)):
            raise ExportError(f"{directory} has labels but no {MANIFEST}; restore it, or take an empty directory")
        return Manifest(topic=topic)
    manifest = read_manifest(directory)
    if manifest.topic != topic:
        raise ExportError(f"{directory} has the labels of the topic {manifest.topic}, not of {topic}")
    return manifest


def _clear(directory: Path, manifest: Manifest) -> None:
    """Remove what a killed export has left."""
    whole = {_name(batch) for batch in range(manifest.batches)}
    for path in [*directory.glob(f"{_ASIDE}*"), *directory.glob(f"day=*/{_ASIDE}*")]:
        path.unlink()
    for path in directory.glob(_FILES):
        if path.name not in whole:
            path.unlink()


def read_manifest(directory: Path) -> Manifest:
    """Return what a directory says of itself.

    Raises
    ------
    ExportError
        It is no export, or one of another format.
    """
    try:
        return Manifest.model_validate_json((directory / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise ExportError(f"{directory} is no export of labels: {error}") from error


def exported_labels(directory: Path) -> Iterator[wire.Label]:
    """Yield the labels of an export, by batches and days: revisions of an application in any order.

    Raises
    ------
    ExportError
        It is no export, or a file of it cannot be read.
    MissingExtraError
        The extra ``parquet`` is not installed.
    """
    check_parquet()
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    manifest = read_manifest(directory)
    for batch in range(manifest.batches):
        for path in sorted(directory.glob(f"day=*/{_name(batch)}")):
            try:
                with parquet.ParquetFile(path) as file:
                    for rows in file.iter_batches(_AT_ONCE, columns=list(wire.Label.__struct_fields__)):
                        yield from _labels(rows)
            except (OSError, pa.ArrowException) as error:
                raise ExportError(f"{path} cannot be read: {error}") from error


def check_parquet() -> None:
    """Check that Parquet can be written and read.

    Raises
    ------
    MissingExtraError
        The extra ``parquet`` is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError("exports of labels need pyarrow: pip install 'stream-qa[parquet]'")


@contextmanager
def _written(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(f"{directory} cannot be written: {error}") from error


def _name(batch: int) -> str:
    return f"labels-{batch:08d}.parquet"


def _table(placed: Sequence[PlacedLabel]) -> Any:  # noqa: ANN401 # pyarrow has no types
    import pyarrow as pa  # noqa: PLC0415

    time, vector = pa.timestamp("ms", "UTC"), pa.list_(pa.float64())
    kinds = {
        "revision": pa.int64(),
        "value": pa.int8(),
        "weight": pa.float64(),
        "final": pa.bool_(),
        "global_log_odds": pa.float64(),
        "job_log_odds": pa.float64(),
        "job_version": pa.int64(),
        "origin": pa.int32(),
        "model_number": pa.int64(),
        "global_brought": pa.bool_(),
        **dict.fromkeys(_TIMES, time),
        **dict.fromkeys(_VECTORS, vector),
    }
    labels = [each.label for each in placed]
    columns = {
        name: pa.array([getattr(label, name) for label in labels], kinds.get(name, pa.string()))
        for name in wire.Label.__struct_fields__
        if name not in _VECTORS
    }
    for name in _VECTORS:
        columns[name] = pa.array(wire.vectors([getattr(label, name) for label in labels]), vector)
    columns["partition"] = pa.array([each.partition for each in placed], pa.int32())
    columns["offset"] = pa.array([each.offset for each in placed], pa.int64())
    return pa.table(columns)


def _labels(rows: Any) -> Iterator[wire.Label]:  # noqa: ANN401
    import pyarrow as pa  # noqa: PLC0415

    columns = []
    for name in wire.Label.__struct_fields__:
        column = rows.column(name)
        if name in _TIMES:
            column = column.cast(pa.int64())
        values = column.to_pylist()
        columns.append([Raw(orjson.dumps(value)) for value in values] if name in _VECTORS else values)
    return (wire.Label(*values) for values in zip(*columns, strict=True))
