"""The directory of a group's retrainings: a bundle a directory, named by its version, and reports beside them."""

import fcntl
import shutil
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import orjson

from stream_qa.bundle import MANIFEST
from stream_qa.errors import RetrainingError
from stream_qa.training.train import Training

_ASIDE = ".aside"
_LOCK = ".lock"
_REPORTS = "reports"


class Shelf:
    """The bundles and reports of a group.

    Parameters
    ----------
    directory
        Made where it does not exist.

    Raises
    ------
    RetrainingError
        It cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with _written(directory):
            (directory / _REPORTS).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else retrain here meanwhile; whoever is killed lets go.

        Raises
        ------
        RetrainingError
            Another one is at work here.
        """
        with (self.directory / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RetrainingError(f"another retraining is at work in {self.directory}") from error
            yield

    def put(self, training: Training) -> Path:
        """Write a bundle and return its directory: whole, or not there.

        The same training that was written before is left as it is.

        Raises
        ------
        RetrainingError
            It cannot be written.
        """
        aside = self.directory / _ASIDE
        with _written(self.directory):
            if aside.exists():
                shutil.rmtree(aside)
            manifest = training.write(aside)
            directory = self.directory / manifest.version
            if directory.exists():
                # It may be the one in use.
                shutil.rmtree(aside)
            else:
                aside.rename(directory)
        return directory

    def report(self, name: str, contents: dict[str, bytes]) -> Path:
        """Write a report's files, one for each ending; return the path of the first. Each is whole, or not there.

        Raises
        ------
        RetrainingError
            It cannot be written.
        """
        paths = []
        with _written(self.directory):
            for ending, content in contents.items():
                path = self.directory / _REPORTS / f"{name}.{ending}"
                aside = path.with_name(f"{_ASIDE}-{path.name}")
                aside.write_bytes(content)
                aside.rename(path)
                paths.append(path)
        return paths[0]

    def versions(self) -> list[str]:
        """Return the versions of the bundles that were put here, the newest first, by when they were written.

        Those that somebody else put into the directory, under another name than their version, are not among them.
        """
        manifests = [path for path in self.directory.glob(f"*/{MANIFEST}") if _was_put_here(path)]
        written = [(path.stat().st_mtime_ns, path.parent.name) for path in manifests]
        return [version for _, version in sorted(written, reverse=True)]

    def clear(self, keep: int, needed: AbstractSet[str], published: AbstractSet[str]) -> list[str]:
        """Delete bundles that were put here, and return the versions of those that are gone.

        Parameters
        ----------
        keep
            So many of those that were published stay, and so many of the others, the newest.
        needed
            Those that stay in any case.
        published
            Those that were published.

        Raises
        ------
        RetrainingError
            The directory cannot be read or written.
        """
        with _written(self.directory):
            found = self.versions()
            newest = [
                *[version for version in found if version in published][:keep],
                *[version for version in found if version not in published][:keep],
            ]
            gone = [version for version in found if version not in {*newest, *needed}]
            for version in gone:
                # A bundle under its version is whole, also if this is killed.
                aside = self.directory / _ASIDE
                if aside.exists():
                    shutil.rmtree(aside)
                (self.directory / version).rename(aside)
                shutil.rmtree(aside)
        return gone


def report_name(moment: datetime, version: str) -> str:
    """Return what a report is called, in the order of their times."""
    return f"{moment:%Y-%m-%dT%H-%M-%S}-{version}"


@contextmanager
def _written(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RetrainingError(f"{directory} cannot be written: {error}") from error


def _was_put_here(manifest: Path) -> bool:
    """Return whether a bundle, of whatever format its manifest is, is in a directory of its version's name."""
    try:
        return bool(orjson.loads(manifest.read_bytes())["version"] == manifest.parent.name)
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return False
