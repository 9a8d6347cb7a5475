"""What was measured, in a JSON file: written as it comes, so that a run that was cut off goes on where it was."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stream_qa.broker.java import KAFKA_VERSION

_PACKAGES = ("stream-qa", "faust-streaming", "aiokafka", "quixstreams", "numpy")

Row = dict[str, Any]


@dataclass
class Results:
    """The rows of a file."""

    path: Path

    def __post_init__(self) -> None:
        self.about = _about_this_machine()
        """What the figures depend on: of the file, where there is one."""
        self.rows: list[Row] = []
        if self.path.exists():
            stored = json.loads(self.path.read_text())
            self.about, self.rows = stored["about"], stored["rows"]

    @property
    def are_of_this_machine(self) -> bool:
        """Whether what is measured here, with the versions that are installed, can stand beside them."""
        return self.about == _about_this_machine()

    def find(self, key: Mapping[str, Any]) -> Row | None:
        """Return the row that says the same of all of ``key``, if there is one."""
        return next((row for row in self.rows if key.items() <= row.items()), None)

    def add(self, row: Row) -> None:
        """Keep a row, on the disk too."""
        self.rows.append({**row, "ended_at": datetime.now(UTC).isoformat(timespec="seconds")})
        # Whole or not at all.
        beside = self.path.with_name(f"{self.path.name}.new")
        beside.write_text(json.dumps({"about": self.about, "rows": self.rows}, indent=1) + "\n")
        beside.replace(self.path)


def _about_this_machine() -> Row:
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        **{package: _version(package) for package in _PACKAGES},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
