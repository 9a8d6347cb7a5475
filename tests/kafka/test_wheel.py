"""The wheel, with nothing of the checkout beside it, is enough for the demo: from the broker to coefficients.

It is `make release-check` with the dependencies that are there already, in place of installing them once more.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import release_check

pytestmark = pytest.mark.kafka


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Give an environment that has the wheel, and of what is installed here all but the checkout."""
    wheel = release_check.build(tmp_path / "dist")
    environment = tmp_path / "environment"
    venv.create(environment)
    packages = sysconfig.get_path("purelib", "venv", {"base": str(environment)})
    # A directory that is named like this brings its modules, and not what its own .pth files name: not the checkout.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--ignore-installed", str(wheel)], check=True)
    return environment


def test_the_demo_runs_from_the_wheel_alone(environment: Path, tmp_path: Path) -> None:
    where = [str(environment / "bin" / "python"), "-I", "-c", "import stream_qa; print(stream_qa.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, check=True).stdout
    assert Path(found).is_relative_to(environment)
    release_check.try_out(environment / "bin" / "stream-qa", tmp_path / "elsewhere")
