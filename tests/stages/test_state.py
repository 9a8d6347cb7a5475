"""The contract of state, for that in memory and for the table on disk."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import rocksdict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_qa.stages.state import MemoryState, State
from stream_qa.streaming.table import Table

WRITE_BUFFER = 64 << 10


def open_table(path: Path) -> Table:
    return Table(path, rocksdict.Cache(1 << 20), WRITE_BUFFER)


@pytest.fixture(params=["memory", "disk"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """Give an empty state of each kind."""
    if request.param == "memory":
        yield MemoryState()
        return
    table = open_table(tmp_path / "table")
    yield table
    table.close()


def test_many_are_read_in_the_order_of_the_keys_and_missing_ones_are_none(state: State) -> None:
    state.apply({b"a": b"1", b"b": b"2", b"c": b"3"})
    assert state.get_many([b"c", b"missing", b"a", b"c"]) == [b"3", None, b"1", b"3"]


def test_no_keys_have_no_values(state: State) -> None:
    state.apply({b"a": b"1"})
    assert state.get_many([]) == []


def test_no_changes_change_nothing(state: State) -> None:
    state.apply({b"a": b"1"})
    state.apply({})
    assert list(state.scan(b"", b"\xff")) == [(b"a", b"1")]


def test_an_empty_value_is_not_a_missing_one(state: State) -> None:
    state.apply({b"empty": b""})
    assert state.get_many([b"empty", b"missing"]) == [b"", None]
    assert list(state.scan(b"a", b"z")) == [(b"empty", b"")]


def test_one_application_of_changes_puts_and_deletes(state: State) -> None:
    state.apply({b"a": b"1", b"b": b"2"})
    state.apply({b"a": None, b"b": b"3", b"c": b"4", b"never there": None})
    assert list(state.scan(b"", b"\xff")) == [(b"b", b"3"), (b"c", b"4")]


def test_a_scan_is_half_open_and_in_the_order_of_bytes(state: State) -> None:
    keys = [b"b", b"\x00", b"a\x00", b"a", b"\xff", b"aa", b"\x7f", b"\x80"]
    state.apply(dict.fromkeys(keys, b"value"))
    assert [key for key, _ in state.scan(b"", b"\xff")] == sorted(set(keys) - {b"\xff"})
    assert [key for key, _ in state.scan(b"a", b"b")] == [b"a", b"a\x00", b"aa"]
    assert [key for key, _ in state.scan(b"a\x00", b"aa")] == [b"a\x00"]


@pytest.mark.parametrize(("start", "end"), [(b"a", b"a"), (b"b", b"a"), (b"c", b"d"), (b"aa", b"ab")])
def test_a_range_with_nothing_in_it_is_empty(state: State, start: bytes, end: bytes) -> None:
    assert list(state.scan(start, end)) == []
    state.apply({b"a": b"1", b"b": b"2"})
    assert list(state.scan(start, end)) == []


def test_a_scan_of_an_empty_state_is_empty(state: State) -> None:
    assert list(state.scan(b"", b"\xff")) == []


def test_what_was_put_again_after_a_deletion_is_there(state: State) -> None:
    for change in (b"1", None, b"2"):
        state.apply({b"a": change})
    assert state.get_many([b"a"]) == [b"2"]
    assert list(state.scan(b"", b"\xff")) == [(b"a", b"2")]


# Few and short, so that they meet; all bytes, so that their order is that of bytes.
keys = st.binary(min_size=1, max_size=2) | st.sampled_from([b"a", b"b", b"ab"])
values = st.none() | st.binary(max_size=3)


class StateComparedToDictionary(RuleBasedStateMachine):
    """Whatever is done to a state, it answers as a sorted dictionary does."""

    state: State

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[bytes, bytes] = {}

    @rule(changes=st.dictionaries(keys, values, max_size=6))
    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        self.state.apply(changes)
        for key, value in changes.items():
            if value is None:
                self.expected.pop(key, None)
            else:
                self.expected[key] = value

    @rule(wanted=st.lists(keys, max_size=6))
    def get_many(self, wanted: list[bytes]) -> None:
        assert self.state.get_many(wanted) == [self.expected.get(key) for key in wanted]

    @rule(start=keys | st.just(b""), end=keys)
    def scan(self, start: bytes, end: bytes) -> None:
        inside = sorted((key, value) for key, value in self.expected.items() if start <= key < end)
        assert list(self.state.scan(start, end)) == inside

    @invariant()
    def everything_is_there(self) -> None:
        assert list(self.state.scan(b"", b"\xff" * 3)) == sorted(self.expected.items())


class MemoryComparedToDictionary(StateComparedToDictionary):
    """The state in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.state = MemoryState()


class TableComparedToDictionary(StateComparedToDictionary):
    """The table on disk, closed and opened again in between."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "table"
        self.table = open_table(self.path)
        self.state = self.table

    @rule()
    def close_and_open_again(self) -> None:
        self.table.close()
        self.table = open_table(self.path)
        self.state = self.table

    @rule()
    def clear(self) -> None:
        self.table.clear()
        self.expected.clear()

    def teardown(self) -> None:
        self.table.close()
        self.directory.cleanup()


def bounded(machine: Callable[[], StateComparedToDictionary], examples: int) -> type[RuleBasedStateMachine]:
    """Return the machine's test case, of a size that takes seconds."""
    case = machine.TestCase  # type: ignore[attr-defined]
    case.settings = settings(max_examples=examples, stateful_step_count=20)
    return case  # type: ignore[no-any-return]


TestMemoryComparedToDictionary = bounded(MemoryComparedToDictionary, 50)
TestTableComparedToDictionary = bounded(TableComparedToDictionary, 15)
