"""The image: what its Dockerfile says, and whether all that it installs is written down by version and hash."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest
from constraints import BUILD_CONSTRAINTS, CONSTRAINTS, EXTRAS, PROJECT, PYTHON_VERSION
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
(BASE,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
#: Those whose wheels the image's Debian, with its C library of version 2.36, can take.
PLATFORMS = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)]


def test_the_image_does_not_run_as_root() -> None:
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", last_stage, re.MULTILINE) == ["10001"]
    assert "useradd --system --uid 10001 " in last_stage


def test_both_stages_are_of_one_base_by_its_digest_and_name_no_registry() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert re.fullmatch(rf"python:{re.escape(PYTHON_VERSION)}\.\d+-slim-bookworm@sha256:[0-9a-f]{{64}}", BASE)


def test_the_image_is_built_as_a_linter_would_have_it() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, REPOSITORY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def pins_of(file: Path) -> dict[str, str]:
    """Return the versions that a file names, by normalised name; fail where one has no hash."""
    pins: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", file.read_text().strip()):
        if block.startswith("#"):
            continue
        pin, *hashes = [line.strip() for line in block.split("\\\n")]
        assert hashes, f"{pin} has no hash: make constraints"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), pin
        name, version = pin.split("==")
        pins[canonicalize_name(name)] = version
    return pins


def test_all_that_the_image_installs_is_pinned_to_a_version_that_we_allow() -> None:
    pins = pins_of(CONSTRAINTS)
    wanted, seen = [Requirement(f"stream-qa[{','.join(EXTRAS)}]")], set[str]()
    while wanted:
        for one in required_by(wanted.pop()):
            name = canonicalize_name(one.name)
            assert name in pins, f"{name} is not pinned: make constraints"
            assert pins[name] in one.specifier, f"{one} is wanted: make constraints"
            if name not in seen:
                seen.add(name)
                wanted.append(one)
    assert "faust-streaming" in seen


def test_what_builds_the_wheel_is_pinned_to_a_version_that_we_allow() -> None:
    pins = pins_of(BUILD_CONSTRAINTS)
    for line in tomllib.loads(PROJECT.read_text())["build-system"]["requires"]:
        one = Requirement(line)
        assert pins[canonicalize_name(one.name)] in one.specifier, f"{one} is wanted: make constraints"


def required_by(requirement: Requirement) -> Iterator[Requirement]:
    """Give what an installed package says it requires, with the extras that are asked for, in the image."""
    for line in metadata.requires(requirement.name) or []:
        one = Requirement(line)
        environments = [{"python_version": PYTHON_VERSION, "extra": extra} for extra in ["", *requirement.extras]]
        if one.marker is None or any(one.marker.evaluate(environment) for environment in environments):
            yield one


def test_nothing_is_installed_but_what_is_pinned() -> None:
    commands = re.findall(r"pip (?:install|wheel)\b(?:[^&\\\n]|\\\n)*", DOCKERFILE)
    locked = [f"--require-hashes --requirement deploy/{file.name}" for file in (CONSTRAINTS, BUILD_CONSTRAINTS)]
    assert len(commands) == 4
    assert [lock for command in commands for lock in locked if lock in command] == locked
    # What is not of the index is the project itself, and brings nothing along.
    assert all("--no-deps" in command for command in commands[2:])
    assert "--no-build-isolation" in commands[2]


def dry_run(constraints: Path, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Let pip choose the files for the image's Python and platform, as the image's own would, and hash them."""
    for_image = ["--only-binary=:all:", f"--python-version={PYTHON_VERSION}", f"--target={directory}", *PLATFORMS]
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(directory / "report.json")]
    command = [sys.executable, "-m", "pip", "install", *options, *for_image, "--require-hashes", "-r", str(constraints)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def skip_without_index(done: "subprocess.CompletedProcess[str]") -> None:
    """Skip where the package index cannot be reached."""
    if re.search(r"from versions: none|Max retries|Connection|Temporary failure", done.stderr):
        pytest.skip(f"NOT TRIED OUT, as no package index answers: {done.stderr.strip().splitlines()[-1]}")


@pytest.mark.parametrize("file", [CONSTRAINTS, BUILD_CONSTRAINTS], ids=lambda file: file.stem)
def test_pip_takes_all_of_it_by_hash_as_wheels_of_the_images_platform(file: Path, tmp_path: Path) -> None:
    done = dry_run(file, tmp_path)
    skip_without_index(done)
    assert done.returncode == 0, done.stderr
    installed = json.loads((tmp_path / "report.json").read_text())["install"]
    found = {canonicalize_name(each["metadata"]["name"]): each["metadata"]["version"] for each in installed}
    assert found == pins_of(file)


def test_pip_takes_no_other_file(tmp_path: Path) -> None:
    (pin,) = re.findall(r"^six==.+\n(?: .+\n)*", CONSTRAINTS.read_text(), re.MULTILINE)
    spoilt = tmp_path / "constraints.txt"
    spoilt.write_text(re.sub(r"[0-9a-f]{64}", "0" * 64, pin))
    done = dry_run(spoilt, tmp_path)
    skip_without_index(done)
    assert done.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr


def test_what_the_image_is_built_from_reaches_the_build() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in let_in), source
