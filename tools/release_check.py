"""Build what would be released, and try it out as somebody who has nothing else.

Source distribution and wheel are built, the wheel from the source distribution; both are read as the package index
would read them; the wheel is installed with its extras into an environment of its own; and there, outside of the
checkout, the demo is run: a broker, a worker and everything between.
"""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
EXTRAS = "broker,serve"
#: What a wheel must bring besides modules, as nothing of it would be missed in a checkout.
CARRIED = [
    "stream_qa/py.typed",
    "stream_qa/serving/page/page.html",
    *(f"stream_qa/topics/declared/{path.name}" for path in (REPOSITORY / "topics").glob("*.yaml")),
]


def main() -> None:
    """Build, read, install and run."""
    with tempfile.TemporaryDirectory(prefix="stream-qa-release-") as directory:
        wheel = build(Path(directory) / "dist")
        program = install(wheel, Path(directory) / "environment")
        try_out(program, Path(directory) / "elsewhere")
    print(f"{wheel.name} is fit to be released")


def build(dist: Path) -> Path:
    """Build both distributions, and return the wheel."""
    run([sys.executable, "-m", "build", "--outdir", str(dist), str(REPOSITORY)])
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())])
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    if missing := [name for name in CARRIED if name not in names]:
        sys.exit(f"the wheel lacks {', '.join(missing)}")
    if tests := [name for name in names if name.startswith(("tests/", "tools/", "benchmarks/"))]:
        sys.exit(f"the wheel has {tests[0]}")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Install the wheel with its extras into an environment of its own, and return its program."""
    venv.create(environment, with_pip=True)
    run([str(environment / "bin" / "pip"), "install", "--quiet", f"{wheel}[{EXTRAS}]"])
    return environment / "bin" / "stream-qa"


def try_out(program: Path, elsewhere: Path) -> None:
    """Run what needs all of it, with nothing of the checkout in sight."""
    elsewhere.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAM_QA_", "PYTHON"))}
    for arguments in (["--help"], ["config", "show", "--json"], ["demo", "--seconds", "5"]):
        run([str(program), *arguments], cwd=elsewhere, environment=kept)


def run(command: list[str], cwd: Path | None = None, environment: dict[str, str] | None = None) -> None:
    """Run a command; where it fails, end with its code."""
    done = subprocess.run(command, cwd=cwd, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
