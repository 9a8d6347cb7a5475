"""How a command ends that fails: a sentence on stderr, what to do about it, and an exit code."""

import inspect
import re

from aiokafka.errors import KafkaError
from rich.console import Console

from stream_qa.errors import StreamQAError

FAILED = 1
"""The command could not do what it was asked; the sentence says why."""
BUG = 70
"""The code failed where it must not: ``--traceback`` shows where. As that of a worker on a bug."""

_BROKERS = "Look at the brokers: this is their own word for what is wrong."
_REPORT = "This is a bug. Run it again as `stream-qa --traceback ...`, and report what that prints."


def tell(error: Exception) -> int:
    """Print what happened and what to do, never a traceback.

    Returns
    -------
    int
        The exit code: 70 for a bug, 1 for all else.
    """
    match error:
        case StreamQAError():
            code, what_to_do = FAILED, advice(type(error))
        case KafkaError():
            code, what_to_do = FAILED, _BROKERS
        case OSError():
            # A path that is not there or may not be written: the system's message names it.
            code, what_to_do = FAILED, ""
        case _:
            code, what_to_do = BUG, _REPORT
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"{type(error).__name__}: {error}", style="red", markup=False, highlight=False)
    if what_to_do:
        console.print(what_to_do, markup=False, highlight=False)
    return code


def advice(error: type[StreamQAError]) -> str:
    """Return what an error's docstring says after its first sentence, which is what to do; empty if it says no more."""
    text = inspect.cleandoc(error.__doc__ or "").replace("``", "`")
    _, _, rest = re.sub(r"\s+", " ", text).partition(". ")
    return rest
