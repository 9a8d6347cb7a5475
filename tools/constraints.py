"""Write what the container image is made of: each package by version and hash, for pip's ``--require-hashes``."""

import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PROJECT = REPOSITORY / "pyproject.toml"
CONSTRAINTS = REPOSITORY / "deploy" / "constraints.txt"
#: What the wheel is built with, which does not get into the image.
BUILD_CONSTRAINTS = REPOSITORY / "deploy" / "build-constraints.txt"
#: What the image installs besides the core.
EXTRAS = ("onnx", "redis", "serve")
#: That of the image.
PYTHON_VERSION = "3.12"
_HEADING = """\
# Written by `make constraints`: {what}, so that the same commit gives the same files.
# The hashes are those of all files of a version: wheels differ from processor to processor.
"""


def main() -> None:
    """Let uv choose the newest versions that go together, and write them down."""
    extras = [part for extra in EXTRAS for part in ("--extra", extra)]
    write(CONSTRAINTS, "what the container image installs", [str(PROJECT), *extras])
    required = tomllib.loads(PROJECT.read_text())["build-system"]["requires"]
    write(BUILD_CONSTRAINTS, "what the container image's wheel is built with", ["-"], "\n".join(required))


def write(file: Path, what: str, source: list[str], said: str = "") -> None:
    """Write the versions that ``source`` asks for, or ``said``, if that is what it names."""
    options = ["--python-version", PYTHON_VERSION, "--python-platform", "linux", "--generate-hashes", "--quiet"]
    command = [sys.executable, "-m", "uv", "pip", "compile", *source, *options, "--no-header", "--no-annotate"]
    done = subprocess.run(command, input=said, stdout=subprocess.PIPE, text=True, check=True)
    file.write_text(_HEADING.format(what=what) + done.stdout)


if __name__ == "__main__":
    main()
