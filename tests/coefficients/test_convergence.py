"""However the two topics are interleaved, repeated, compacted and cut off, a server ends with what was learned.

And with nothing of who was dropped.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from changes import delta, snapshot, tombstone
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_qa.coefficients import Change, CoefficientStore, Place, Reach, Renewal
from stream_qa.errors import StoreAheadError
from stream_qa.events import wire

GRID = 2.0**-24
DELTAS, SNAPSHOTS = Place("deltas", 0), Place("snapshots", 0)
LIFE = 1_000_000
"""Event time between the beginnings of two lives of the entity (ms)."""


class History(NamedTuple):
    """What a learner has written of an entity that lived at least once, and lives or was dropped."""

    deltas: list[Change]
    snapshots: list[Change]
    lives_since: int
    """Where the deltas of the last life begin."""
    version: int
    """0 where it was dropped."""
    total: float


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw lives, the deltas of each between a few versions, snapshots at some, and the ends of all or all but one."""
    deltas: list[Change] = []
    snapshots: list[Change] = []
    lives_since = version = 0
    total = 0.0
    for life in range(draw(st.integers(1, 3))):
        if life:
            deltas.append(tombstone())
            snapshots.append(tombstone())
        lives_since, version, total = len(deltas), 0, 0.0
        for steps, change, in_full in draw(
            st.lists(st.tuples(st.integers(1, 3), st.integers(-(2**28), 2**28), st.booleans()), min_size=1, max_size=6)
        ):
            moment = (1 + life) * LIFE + version + steps
            deltas.append(delta(version, version + steps, [change * GRID], newest_at=moment))
            version, total = version + steps, total + change * GRID
            if in_full or version == steps:
                snapshots.append(snapshot(version, [total], newest_at=moment))
    if draw(st.booleans()):
        deltas.append(tombstone())
        snapshots.append(tombstone())
        version, total = 0, 0.0
    return History(deltas, snapshots, lives_since, version, total)


def compacted(snapshots: Sequence[Change], data: st.DataObject) -> list[Change]:
    """Return the last, and some of those before it, as a compacted topic has them."""
    return [each for each in snapshots[:-1] if data.draw(st.booleans())] + list(snapshots[-1:])


def renewals(snapshots: Sequence[Change]) -> list[Change]:
    """Return what a server that is not in a cold start takes of the snapshots' topic."""
    return [Renewal(each) for each in snapshots if isinstance(each, wire.Snapshot)]


def retained_since(history: History, first: Sequence[Change]) -> int:
    """Return the last place from which the deltas go on where the snapshots that were read first have come to."""
    for change in reversed(first):
        if not isinstance(change, wire.Snapshot):
            break
        for place, each in enumerate(history.deltas):
            if isinstance(each, wire.Delta) and (each.version, each.newest_at) == (change.version, change.newest_at):
                return place + 1 if place >= history.lives_since else 0
    return history.lives_since


@settings(max_examples=300)
@given(histories(), st.data())
def test_a_server_that_starts_at_any_time_ends_with_what_was_learned(history: History, data: st.DataObject) -> None:
    store = CoefficientStore()
    # A cold start: the snapshots that there are by then, with their tombstones, and then the deltas still retained.
    known = data.draw(st.integers(0, len(history.snapshots)))
    first = compacted(history.snapshots[:known], data)
    for change in first:
        store.apply([change])
    later = renewals(history.snapshots[known:])
    place = data.draw(st.integers(0, retained_since(history, first)))
    rewinds = data.draw(st.integers(0, 2))
    since = place
    while place < len(history.deltas) or later:
        # Whichever of the topics is read next; the snapshots that were written meanwhile come at any time.
        if later and (place == len(history.deltas) or data.draw(st.booleans())):
            store.apply([later.pop(0)])
        else:
            size = data.draw(st.integers(1, len(history.deltas) - place))
            store.apply(history.deltas[place : place + size])
            place += size
            if rewinds and data.draw(st.booleans()):
                rewinds -= 1
                place = data.draw(st.integers(since, place))
    assert_holds(store, history)


class Sharing:
    """One of several followers of one store, each as far as it has read itself."""

    def __init__(self, store: CoefficientStore, history: History) -> None:
        self._store = store
        self._records = {SNAPSHOTS: history.snapshots, DELTAS: history.deltas}
        self.begin(0)

    def begin(self, known_snapshots: int) -> None:
        """Set out from where the store is, as one that was killed does; so many snapshots come before any delta."""
        self._known_snapshots = known_snapshots
        self._go_on_from_the_store()

    def is_at_the_ends(self) -> bool:
        return all(self._at[place] == len(records) for place, records in self._records.items())

    def step(self, place: Place, most: int) -> None:
        """Read records of a topic, and give them to the store if it is still where this began to read."""
        is_catching_up = self._at[SNAPSHOTS] < self._known_snapshots
        if is_catching_up:
            place = SNAPSHOTS
        since = self._at[place]
        until = min(since + most, self._known_snapshots if is_catching_up else len(self._records[place]))
        decides_who_is_held = place == DELTAS or (is_catching_up and self._is_cold)
        records = self._records[place][since:until]
        changes = records if decides_who_is_held else renewals(records)
        reached = {each: Reach(offset, until if each == place else offset) for each, offset in self._at.items()}
        try:
            self._store.apply(changes, reached)
        except StoreAheadError:
            self._go_on_from_the_store()
        else:
            self._at[place] = until

    def _go_on_from_the_store(self) -> None:
        positions = self._store.positions()
        self._at = {place: positions.get(place, 0) for place in self._records}
        self._is_cold = DELTAS not in positions


@settings(max_examples=300, deadline=None)
@given(histories(), st.data())
def test_a_store_that_several_followers_fill_at_different_paces_ends_with_what_was_learned(
    history: History, data: st.DataObject
) -> None:
    store = CoefficientStore()
    followers = [Sharing(store, history) for _ in range(3)]
    for follower in followers:
        follower.begin(data.draw(st.integers(0, len(history.snapshots))))
    steps = st.tuples(st.sampled_from(followers), st.sampled_from([SNAPSHOTS, DELTAS]), st.integers(1, 4))
    for follower, place, most in data.draw(st.lists(steps, max_size=12)):
        follower.step(place, most)
    # All are killed, and one comes again.
    survivor = data.draw(st.sampled_from(followers))
    survivor.begin(len(history.snapshots))
    while not survivor.is_at_the_ends():
        survivor.step(SNAPSHOTS, 1)
        survivor.step(DELTAS, 1)
    assert_holds(store, history)


def assert_holds(store: CoefficientStore, history: History) -> None:
    held = store.get("member", "entity-1")
    if history.version == 0:
        assert held is None
        return
    assert held is not None
    assert held.version == history.version
    assert held.vector.tobytes() == np.array([history.total]).tobytes()
