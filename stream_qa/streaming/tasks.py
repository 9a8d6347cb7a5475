"""Tasks that run beside others: who hears of their errors."""

import asyncio
from collections.abc import Callable


def telling(failed: Callable[[BaseException], None]) -> Callable[["asyncio.Task[None]"], None]:
    """Return what tells ``failed`` of the error with which a task has ended, if it has with one."""

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed(error)

    return ended
