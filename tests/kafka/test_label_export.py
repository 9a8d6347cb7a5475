"""`stream-qa labels export`, from a real topic, again and again."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from builders import label
from ground import Ground
from typer.testing import CliRunner, Result

from stream_qa.cli import application
from stream_qa.errors import ExportError
from stream_qa.training.label_files import exported_labels

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("on_ground")]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "labels"


def export(directory: Path, *more: str) -> Result:
    return CliRunner().invoke(application, ["labels", "export", str(directory), "--json", *more])


def exported(directory: Path, *more: str) -> dict[str, Any]:
    done = export(directory, *more)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def send(ground: Ground, partition: int, *names: str) -> None:
    records = [(b"member-1", label(name).model_dump_json().encode()) for name in names]
    asyncio.run(ground.produce(ground.settings.topics.labels, [*records, (b"member-1", b"{")], partition))


def test_again_it_adds_only_what_is_new(ground: Ground, directory: Path) -> None:
    assert exported(directory)["labels"] == 0
    send(ground, 0, "a", "b")
    send(ground, 3, "c")
    first = exported(directory)
    assert (first["added"], first["labels"], first["not_labels"]) == (3, 3, 2)
    assert first["next_offsets"] == {"0": 3, "1": 0, "2": 0, "3": 2}
    assert exported(directory)["added"] == 0
    send(ground, 0, "d")
    assert exported(directory)["added"] == 1
    assert sorted(one.application_id for one in exported_labels(directory)) == ["a", "b", "c", "d"]


def test_what_came_later_than_wanted_is_left_for_another_time(ground: Ground, directory: Path) -> None:
    send(ground, 0, "a")
    # The broker's clock and ours are one here; moments on the command line are seconds.
    moment = int(time.time()) + 1
    while time.time() <= moment:
        time.sleep(0.05)
    send(ground, 0, "b")
    until = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    assert exported(directory, "--until", until)["added"] == 1
    assert exported(directory)["added"] == 1


def test_another_topic_under_the_name_is_noticed(directory: Path) -> None:
    exported(directory)
    manifest = directory / "_manifest.json"
    manifest.write_text(manifest.read_text().replace('"0": 0', '"0": 5'))
    assert isinstance(export(directory).exception, ExportError)
