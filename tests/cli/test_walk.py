"""A walk over all commands: each says what it does, by an example that works, and how it can end."""

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import PROGRAM, ROOT, Command, commands, examples, groups_and_commands, help_of, parse
from pages import pages

from stream_qa import __version__, errors
from stream_qa.cli import failures
from stream_qa.cli.failures import advice
from stream_qa.streaming import worker

REPOSITORY = Path(__file__).parents[2]
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
EXECUTABLE = Path(sys.executable).with_name(PROGRAM)
COMMANDS = commands()

#: Commands whose result is for people, or a single word, each with the reason.
WITHOUT_JSON = {
    "broker up": "its stdout is the address and nothing else",
    "broker down": "it has no result beyond its exit code",
    "demo": "a show",
    "serve": "a service: it has no result",
}
EVERYWHERE = {0: "done", failures.FAILED: "an error", 2: "the command line", failures.BUG: "a bug"}

every_command = pytest.mark.parametrize("name", COMMANDS)


@pytest.mark.parametrize("name", groups_and_commands())
def test_it_says_what_it_does_in_a_sentence(name: str) -> None:
    first = help_of(groups_and_commands()[name]).partition("\n\n")[0]
    assert len(first.split()) > 2


@every_command
def test_each_of_its_options_and_arguments_is_explained(name: str) -> None:
    unexplained = [parameter.name for parameter in COMMANDS[name].params if not getattr(parameter, "help", None)]
    assert unexplained == []


@every_command
def test_its_examples_parse(name: str) -> None:
    found = examples(COMMANDS[name])
    assert found, f"the help of {name} has no line `Example: {PROGRAM} {name} ...`"
    for example in found:
        assert parse(example) == name


@pytest.mark.parametrize(
    ("example", "error"),
    [
        ("stream-qa broker status --yaml", "NoSuchOption"),
        ("stream-qa topics plan --partitions none", "BadParameter"),
        ("stream-qa dead-letters show", "MissingParameter"),
        ("stream-qa broker status up", "UsageError"),
        ("stream-qa broker statues", "ValueError"),
        ("faust -A stream_qa.app worker", "ValueError"),
    ],
)
def test_an_example_that_does_not_parse_is_seen(example: str, error: str) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        parse(example)
    assert type(caught.value).__name__ == error


@every_command
def test_a_script_can_read_what_it_says(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert ("--json" in options) != (name in WITHOUT_JSON)


@every_command
def test_the_exit_codes_of_its_own_are_in_its_help_and_in_the_operations_page(name: str) -> None:
    found = re.search(r"^Exit codes: (.+?)\.$", help_of(COMMANDS[name]), re.MULTILINE | re.DOTALL)
    explained = {int(part.split()[0]) for part in found[1].split("; ")} if found else set()
    own = exit_codes(COMMANDS[name])
    assert own <= explained
    for code in own - {failures.FAILED}:
        assert re.search(rf"^\| {code} \| `{PROGRAM} {name}` \|", OPERATIONS, re.MULTILINE)


def test_the_exit_codes_of_all_commands_are_in_the_help_and_in_the_operations_page() -> None:
    for code, words in EVERYWHERE.items():
        assert f"{code} {words}" in help_of(ROOT)
        assert re.search(rf"^\| {code} \| [^|]*`{PROGRAM}` \|", OPERATIONS, re.MULTILINE)
    for code in (worker.EXIT_REFUSED, worker.EXIT_FAILED):
        assert re.search(rf"^\| {code} \| worker", OPERATIONS, re.MULTILINE)


def test_exit_codes_are_found_where_there_are_some() -> None:
    assert exit_codes(COMMANDS["broker status"]) == {3}
    assert exit_codes(COMMANDS["topics plan"]) == {1, 2}
    assert exit_codes(COMMANDS["serve"]) == set()


@pytest.mark.parametrize("name", WITHOUT_JSON)
def test_what_needs_no_json_is_a_command(name: str) -> None:
    assert name in COMMANDS


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_that_follows_from_the_code_is_as_the_code(page: Path) -> None:
    assert page.read_text() == pages()[page], "make pages"


# What a shell is given.


def test_the_script_for_completion_is_shown_and_completes(tmp_path: Path) -> None:
    script = shell("_STREAM_QA_COMPLETE=source_bash stream-qa")
    (tmp_path / "completion.bash").write_text(script)
    words = "COMP_WORDS=(stream-qa dead-letters re); COMP_CWORD=2"
    completed = shell(
        f"source {tmp_path}/completion.bash; {words}; _stream_qa_completion stream-qa; echo ${{COMPREPLY[*]}}"
    )
    assert completed.strip() == "redrive"


def test_show_completion_knows_the_shell_that_it_is_called_from() -> None:
    # With a command after it, or bash would put the program in its own place and there is no shell to be found.
    assert "complete -o default -F _stream_qa_completion stream-qa" in shell("stream-qa --show-completion; true")


# What is told of an error.


def test_an_error_is_a_sentence_and_what_to_do() -> None:
    done = run("topics", "plan", STREAM_QA_BROKR="kafka:9092")
    assert done.returncode == failures.FAILED
    first, second = done.stderr.splitlines()
    assert first == "SettingsError: STREAM_QA_BROKR is not a setting; did you mean STREAM_QA_BROKER?"
    assert second == "Correct it; `stream-qa config show` prints all of them."


def test_it_says_which_versions_it_runs_with() -> None:
    done = run("--version")
    assert re.fullmatch(
        rf"stream-qa {re.escape(__version__)} \(Python \S+, faust-streaming \S+, aiokafka \S+\)\n", done.stdout
    )


def test_a_traceback_is_shown_where_it_is_asked_for() -> None:
    done = run("--traceback", "topics", "plan", STREAM_QA_BROKR="kafka:9092")
    assert done.returncode == failures.FAILED
    assert done.stderr.startswith("Traceback (most recent call last):")


def test_a_bug_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.tell(KeyError("member")) == failures.BUG
    assert "--traceback" in capsys.readouterr().err
    assert failures.tell(PermissionError(13, "Permission denied", "/bundle")) == failures.FAILED
    assert "--traceback" not in capsys.readouterr().err


def error_classes() -> list[type[errors.StreamQAError]]:
    found = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.StreamQAError)
    ]
    return [each for each in found if each is not errors.StreamQAError]


@pytest.mark.parametrize("error", error_classes())
def test_there_is_advice_on_every_error(error: type[errors.StreamQAError]) -> None:
    assert re.match(r"[A-Z`].*[.?]$", advice(error))


def exit_codes(command: Command) -> set[int]:
    """Return the codes with which a command's own function ends the process, besides 0."""
    function: Callable[..., Any] = inspect.unwrap(command.callback) if command.callback else pytest.fail("no function")
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    ended = [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"typer.Exit", "sys.exit"}
    ]
    # A constant, or one of two.
    names = [leaf for node in ended for leaf in ([node.body, node.orelse] if isinstance(node, ast.IfExp) else [node])]
    constants = dict(function.__globals__)
    return {int(eval(ast.unparse(name), constants)) for name in names} - {0}  # noqa: S307 # a constant of our own code


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [EXECUTABLE, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def shell(script: str) -> str:
    path = f"{EXECUTABLE.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout
