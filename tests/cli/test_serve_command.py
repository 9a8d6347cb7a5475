"""``stream-qa serve`` where it cannot."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from stream_qa.cli import application, serve
from stream_qa.errors import MissingExtraError


def test_without_its_extra_it_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "uvicorn" else name)
    done = CliRunner().invoke(application, ["serve"])
    assert isinstance(done.exception, MissingExtraError)
    assert str(done.exception) == "the service needs uvicorn: pip install 'stream-qa[serve]'"


def test_no_other_command_needs_the_extra() -> None:
    hidden = "import sys; sys.modules.update(dict.fromkeys(['fastapi', 'uvicorn', 'prometheus_client']))"
    program = f"{hidden}; from stream_qa.cli import main; main()"
    subprocess.run([sys.executable, "-c", program, "config", "show"], check=True, capture_output=True)
