"""Work of a stage that no record brings along: what has fallen due, sweeps, starts from a bundle.

A record may have moved event time on so far, but it is not what fails then: the next record would do the same. Whoever
looks for the record on which the code fails must know the one from the other.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stream_qa.errors import StateError


class UpkeepError(Exception):
    """The code of a stage fails on such work: a bug, which is the cause. The message says on which work.

    None of :mod:`stream_qa.errors`: a command that has no guard against bugs is to call it one.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"fails on {what}")


@contextmanager
def upkeep(what: str) -> Iterator[None]:
    """Do work that is no record's.

    Parameters
    ----------
    what
        Names it in an error.

    Raises
    ------
    UpkeepError
        Something in it fails that is no :class:`~stream_qa.errors.StateError`: such errors speak for themselves.
    """
    try:
        yield
    except StateError:
        raise
    except Exception as error:
        raise UpkeepError(what) from error


@contextmanager
def with_upkeep(what: str, alone: Callable[[], object]) -> Iterator[None]:
    """Do work that is done at once for records and for what is no record's; where it fails, ask whose fault it is.

    Parameters
    ----------
    what
        Names in an error what is no record's.
    alone
        Does only that; called where the whole fails.

    Raises
    ------
    UpkeepError
        It fails alone as well.
    """
    try:
        yield
    except StateError:
        raise
    except Exception:
        with upkeep(what):
            alone()
        raise
