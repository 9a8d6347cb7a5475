"""Why the label table is not a windowed table of Faust's: what those do with event time, and after a restart.

Should one of these fail with a newer Faust, docs/decisions/0009-our-own-windowed-table.md can be looked at again.
"""

from typing import Any

import faust
from builders import START

FOURTEEN_DAYS = 14 * 86_400.0
LONG_AGO = START / 1000 - 14 * 365 * 86_400.0
"""A moment of 2012, in seconds."""


def windowed_table(closed: list[Any]) -> Any:  # noqa: ANN401 # Faust is not typed
    """Return a table of Faust's with windows of 14 days that tells when one closes."""
    app = faust.App("stock", broker="kafka://127.0.0.1:9", store="memory://")

    async def on_window_close(key: Any, _value: Any) -> None:  # noqa: ANN401
        closed.append(key)

    table = app.Table("windows", default=int, on_window_close=on_window_close)
    table.tumbling(FOURTEEN_DAYS, expires=1.0)
    return table


def put(table: Any, key: str, moment: float) -> tuple[str, tuple[float, float]]:  # noqa: ANN401
    """Put a value under a key and the window of a moment (seconds), as Faust does when a value is set."""
    [window] = table._window_ranges(moment)
    entry = (key, tuple(window))
    table.data[entry] = 1
    table._maybe_set_key_ttl(entry, 0)
    return entry


async def test_the_windows_of_old_events_close_at_once() -> None:
    closed: list[Any] = []
    table = windowed_table(closed)
    first = put(table, "application-1", LONG_AGO)
    # Nothing has said that 14 days have passed since: the next event is of the same hour.
    put(table, "application-2", LONG_AGO + 3_600)
    await table._del_old_keys()
    assert first in closed


async def test_after_a_restart_no_window_closes_any_more() -> None:
    before: list[Any] = []
    table = windowed_table(before)
    entry = put(table, "application-1", LONG_AGO)
    after: list[Any] = []
    restarted = windowed_table(after)
    restarted.data[entry] = table.data[entry]
    await restarted._del_old_keys()
    assert after == []
    assert entry in restarted.data


async def test_every_change_of_a_value_is_remembered_until_its_window_closes() -> None:
    table = windowed_table([])
    for _ in range(1_000):
        put(table, "application-1", LONG_AGO)
    assert len(table._partition_timestamps[0]) == 1_000


def test_windows_begin_with_the_epoch_and_not_with_the_application() -> None:
    [(start, end)] = windowed_table([])._window_ranges(LONG_AGO)
    assert start % FOURTEEN_DAYS == 0
    assert end < LONG_AGO + FOURTEEN_DAYS
