"""All commands of ``stream-qa``, as its command line has them."""

import inspect
import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer.main

from stream_qa.cli import application

PROGRAM = "stream-qa"

Command = Any
"""A command of click: of the package, or of the copy that newer versions of typer bring."""

ROOT: Command = typer.main.get_command(application)


def is_group(command: Command) -> bool:
    """Return whether it has commands below it, and does nothing itself."""
    return hasattr(command, "commands")


def groups_and_commands() -> dict[str, Command]:
    """Return everything that has a help, by what one types after ``stream-qa``."""
    return dict(_below(ROOT, ""))


def commands() -> dict[str, Command]:
    """Return what does something: all but the groups."""
    return {name: command for name, command in groups_and_commands().items() if not is_group(command)}


def _below(group: Command, prefix: str) -> Iterator[tuple[str, Command]]:
    for name, command in group.commands.items():
        yield f"{prefix}{name}", command
        if is_group(command):
            yield from _below(command, f"{prefix}{name} ")


def help_of(command: Command) -> str:
    """Return the text that stands above a command's options."""
    return inspect.cleandoc(command.help or "")


def examples(command: Command) -> list[str]:
    """Return the command lines that a command's help gives."""
    return re.findall(r"^Example: (.+)$", help_of(command), re.MULTILINE)


def parse(example: str) -> str:
    """Take a command line apart as the program would before it does anything; return the command's name.

    Raises
    ------
    ValueError
        It runs no ``stream-qa``, or a command that does not exist.
    Exception
        A usage error of click, of whichever copy: the arguments are not those of the command.
    """
    matched = re.search(rf"(?:^|[ (]){PROGRAM} ([^)|;&>]*)", example)
    if matched is None:
        raise ValueError(f"{example!r} runs no {PROGRAM}")
    words = shlex.split(matched[1], comments=True)
    command, path = ROOT, []
    while is_group(command):
        word = words.pop(0) if words else ""
        if word not in command.commands:
            raise ValueError(f"{example!r}: there is no command {word!r}")
        command = command.commands[word]
        path.append(word)
    command.make_context(path[-1], words)
    return " ".join(path)
