"""Write ``deploy/constraints.txt``: the versions of everything that the container image installs."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
CONSTRAINTS = REPOSITORY / "deploy" / "constraints.txt"
_HEADING = """\
# Written by `make constraints`: what the container image installs, so that the same commit gives the same versions.
# Hashes are not in it: wheels differ from processor to processor.
"""


def python_version() -> str:
    """Return the Python that the image has, such as 3.12."""
    (version,) = set(re.findall(r"^FROM python:(\d+\.\d+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE))
    return str(version)


def extras() -> str:
    """Return the extras that the image installs, with commas."""
    (found,) = re.findall(r"\.whl\)\[([a-z,]+)\]", (REPOSITORY / "Dockerfile").read_text())
    return str(found)


def main() -> None:
    """Let pip choose the newest versions that go together, and write them down."""
    with tempfile.TemporaryDirectory() as nowhere:
        report = Path(nowhere) / "report.json"
        choose = ["install", "--dry-run", "--ignore-installed", "--quiet", "--only-binary=:all:"]
        wanted = ["--python-version", python_version(), "--target", nowhere, "--report", str(report)]
        subprocess.run(
            [sys.executable, "-m", "pip", *choose, *wanted, f"{REPOSITORY}[{extras()}]"], check=True, cwd=nowhere
        )
        chosen = [each["metadata"] for each in json.loads(report.read_text())["install"]]
    pins = sorted(f"{each['name'].lower()}=={each['version']}\n" for each in chosen if each["name"] != "stream-qa")
    CONSTRAINTS.write_text(_HEADING + "".join(pins))


if __name__ == "__main__":
    main()
