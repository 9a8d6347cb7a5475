"""What servers get of an entity: deltas that add up exactly, and snapshots."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_qa.coefficients import Publisher
from stream_qa.errors import StateError
from stream_qa.events import Decoder, Delta, Message, Snapshot
from stream_qa.learning import AdaptiveSGD, Prior, RandomEffect
from stream_qa.learning.entity import Records, entity_type, unpack_many
from stream_qa.learning.whitening import Whitening, Whitenings

DIMENSION = 3
PRIOR = Prior(intercept_precision=2.0, slope_precision=7.0)
PUBLISHER = Publisher(
    effect=RandomEffect("job", PRIOR), deltas="changes", snapshots="fulls", snapshot_every=4, snapshot_period=1_000
)
WHITENINGS = Whitenings([Whitening(0, "model-5", PRIOR.scale(DIMENSION))])
coefficients = st.lists(st.floats(-20, 20), min_size=DIMENSION, max_size=DIMENSION)


def entity(version: int, vector: list[float], *, labels: int = 0, newest_at: int = 0) -> Records:
    record = unpack_many(entity_type(AdaptiveSGD(), DIMENSION), [None])
    record["version"], record["labels"], record["newest_at"] = version, labels, newest_at
    record["coefficients"] = vector
    return record


def decoded(messages: list[Message]) -> tuple[list[Delta], list[Snapshot]]:
    deltas, snapshots = [], []
    for delta in Decoder(Delta).decode(message.value for message in messages if message.topic == "changes"):
        assert isinstance(delta, Delta)
        deltas.append(delta)
    for snapshot in Decoder(Snapshot).decode(message.value for message in messages if message.topic == "fulls"):
        assert isinstance(snapshot, Snapshot)
        snapshots.append(snapshot)
    assert len(deltas) + len(snapshots) == len(messages)
    return deltas, snapshots


def publish(before: Records, after: Records) -> tuple[list[Delta], list[Snapshot]]:
    return decoded(PUBLISHER.publish(["entity-1"], before, after, WHITENINGS))


def test_a_delta_says_what_is_behind_it() -> None:
    ((delta,), snapshots) = publish(entity(1, [0.0] * 3), entity(3, [1.0] * 3, labels=2, newest_at=99))
    assert snapshots == []
    assert (delta.entity_kind, delta.entity_id, delta.model_version) == ("job", "entity-1", "model-5")
    assert (delta.base_version, delta.version, delta.labels, delta.newest_at) == (1, 3, 2, 99)


def test_the_key_is_the_kind_and_the_entity() -> None:
    messages = PUBLISHER.publish(["entity-ä"], entity(3, [0.0] * 3), entity(4, [1.0] * 3), WHITENINGS)
    assert [message.key for message in messages] == ["job:entity-ä".encode()] * 2


@settings(max_examples=50)
@given(st.lists(coefficients, min_size=1, max_size=8))
def test_deltas_are_on_the_grid_and_add_up_exactly_to_every_snapshot(history: list[list[float]]) -> None:
    total = np.zeros(DIMENSION)
    before = entity(0, [0.0] * DIMENSION)
    deviations = np.array([PRIOR.intercept_precision, PRIOR.slope_precision, PRIOR.slope_precision]) ** -0.5
    for version, vector in enumerate(history, start=1):
        after = entity(version, vector)
        (delta,), snapshots = publish(before, after)
        change = np.array(delta.change)
        assert np.array_equal(change * 2**24, np.rint(change * 2**24))
        assert not np.signbit(change[change == 0]).any()
        total += change
        # Half a step of the grid is the most that rounding moves a coefficient.
        assert total == pytest.approx(np.array(vector) * deviations, abs=2.0**-25 + 1e-12)
        for snapshot in snapshots:
            assert np.array(snapshot.coefficients).tobytes() == total.tobytes()
        before = after


@pytest.mark.parametrize(
    ("base_version", "version", "snapshots"),
    [(0, 1, 0), (0, 3, 0), (3, 4, 1), (0, 4, 1), (0, 9, 1), (4, 7, 0), (4, 8, 1), (7, 9, 1)],
)
def test_a_snapshot_comes_when_a_multiple_of_its_distance_is_crossed(
    base_version: int, version: int, snapshots: int
) -> None:
    _, fulls = publish(entity(base_version, [0.0] * 3), entity(version, [1.0] * 3, labels=3, newest_at=5))
    assert [(full.version, full.labels, full.newest_at) for full in fulls] == [(version, 3, 5)] * snapshots


@pytest.mark.parametrize(
    ("base_moment", "moment", "snapshots"),
    [(0, 999, 0), (0, 1_000, 1), (999, 1_000, 1), (1_000, 1_999, 0), (1_999, 2_000, 1), (1_500, 7_700, 1)],
)
def test_a_snapshot_comes_with_the_first_change_in_a_period_of_event_time(
    base_moment: int, moment: int, snapshots: int
) -> None:
    before, after = entity(1, [0.0] * 3, newest_at=base_moment), entity(2, [1.0] * 3, newest_at=moment)
    _, fulls = publish(before, after)
    assert [(full.version, full.newest_at) for full in fulls] == [(2, moment)] * snapshots


def test_snapshots_on_demand_are_those_that_were_published_last() -> None:
    whitenings = WHITENINGS.followed_by(Whitening(9, "model-6", 2 * PRIOR.scale(DIMENSION)))
    entities = np.concatenate([entity(3, [0.25, 0.5, 1.0], labels=2, newest_at=7), entity(4, [0.25, 0.5, 1.0])])
    entities["model"] = [0, 9]
    _, (old, new) = decoded(PUBLISHER.snapshots_of(["old", "new"], entities, whitenings))
    assert (old.entity_id, old.version, old.labels, old.newest_at, old.model_version) == ("old", 3, 2, 7, "model-5")
    assert (new.entity_id, new.version, new.model_version) == ("new", 4, "model-6")
    assert new.coefficients == pytest.approx([2 * number for number in old.coefficients], abs=2.0**-24)
    before = entity(2, [0.0] * 3)
    _, fulls = decoded(replace(PUBLISHER, snapshot_every=1).publish(["old"], before, entities[:1], WHITENINGS))
    assert fulls == [old]


def test_a_coefficient_that_rounds_to_zero_is_the_positive_zero() -> None:
    ((delta,), (snapshot,)) = publish(entity(3, [0.0] * 3), entity(4, [-1e-12, -0.0, 0.0]))
    assert not np.signbit(delta.change).any()
    assert not np.signbit(snapshot.coefficients).any()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_published(wrong: float) -> None:
    before = np.concatenate([entity(1, [0.0] * 3), entity(1, [0.0] * 3)])
    after = np.concatenate([entity(2, [1.0] * 3), entity(2, [0.0, wrong, 0.0])])
    with pytest.raises(StateError, match="coefficients of a job are not finite"):
        PUBLISHER.publish(["entity-1", "entity-2"], before, after, WHITENINGS)


def test_nothing_moved_is_nothing_published() -> None:
    nothing = unpack_many(entity_type(AdaptiveSGD(), DIMENSION), [])
    assert PUBLISHER.publish([], nothing, nothing, WHITENINGS) == []
