"""Many labels of many entities at once, against one label at a time."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_qa.learning import AdaptiveSGD
from stream_qa.learning.arrays import Floats, Integers
from stream_qa.learning.entity import Records, contribution_type, entity_type, unpack_many
from stream_qa.learning.plan import Batch
from stream_qa.learning.rounds import Seen, learn
from stream_qa.learning.rule import Columns, Labels

ENTITIES, APPLICATIONS_EACH, DIMENSION = 3, 3, 9
APPLICATIONS = ENTITIES * APPLICATIONS_EACH
RULE = AdaptiveSGD(time_constant=700.0)


class Row(NamedTuple):
    """One label; its entity is that of its application."""

    application: int
    value: int
    weight: float


rows_of_labels = st.lists(
    st.builds(
        Row, st.integers(0, APPLICATIONS - 1), st.sampled_from([-1, 0, 1]), st.sampled_from([0.0, 0.25, 0.6, 1.0])
    ),
    max_size=30,
)


def batch_of(rows: list[Row], seed: int) -> Batch:
    """Give each application its features, and each label its offset, from ``seed``."""
    generator = np.random.default_rng(seed)
    features: Floats = generator.normal(size=(APPLICATIONS, DIMENSION))
    application = np.array([row.application for row in rows], np.int64)
    value = np.array([row.value for row in rows], np.int64)
    return Batch(
        entity=application // APPLICATIONS_EACH,
        application=application,
        features=features[application],
        offset=generator.normal(size=len(rows)),
        value=value,
        weight=np.where(value < 0, 0.0, np.array([row.weight for row in rows])),
        revision=np.arange(1, len(rows) + 1),
        happened_at=generator.integers(0, 1_000, len(rows)),
    )


def part(batch: Batch, rows: slice) -> Batch:
    return Batch(
        batch.entity[rows],
        batch.application[rows],
        batch.features[rows],
        batch.offset[rows],
        batch.value[rows],
        batch.weight[rows],
        batch.revision[rows],
        batch.happened_at[rows],
    )


def new_records() -> tuple[Records, Records]:
    return (
        unpack_many(entity_type(RULE, DIMENSION), [None] * ENTITIES),
        unpack_many(contribution_type(RULE, DIMENSION), [None] * APPLICATIONS),
    )


def learn_in_parts(batch: Batch, ends: list[int]) -> tuple[Records, Records, list[Seen]]:
    entities, contributions = new_records()
    seen = []
    start = 0
    for end in [*ends, len(batch.entity)]:
        seen.append(learn(RULE, entities, contributions, part(batch, slice(start, end))))
        start = end
    return entities, contributions, seen


@settings(max_examples=150)
@given(rows_of_labels, st.integers(0, 2**32 - 1), st.data())
def test_any_cut_into_parts_gives_the_same_bytes_as_one_label_at_a_time(
    rows: list[Row], seed: int, data: st.DataObject
) -> None:
    batch = batch_of(rows, seed)
    ends = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    entities, contributions, seen = learn_in_parts(batch, ends)
    alone, contributions_alone, seen_alone = learn_in_parts(batch, list(range(1, len(rows))))

    assert entities.tobytes() == alone.tobytes()
    assert contributions.tobytes() == contributions_alone.tobytes()
    for name in Seen._fields:
        together = np.concatenate([getattr(part_seen, name) for part_seen in seen])
        one_by_one = np.concatenate([getattr(part_seen, name) for part_seen in seen_alone])
        assert together.tobytes() == one_by_one.tobytes()


class ByHand:
    """One entity's labels in order, by the rule's own operations and dictionaries."""

    def __init__(self) -> None:
        self.learned: Columns = {name: np.zeros((1, DIMENSION)) for name in ("coefficients", "squares")}
        self.said: dict[int, tuple[int, float]] = {}
        self.added: dict[int, Columns] = {}
        self.decays: dict[int, float] = {}
        self.decay = 0.0
        self.newest_at = 0
        self.version = 0

    def take(self, batch: Batch, row: int) -> None:
        application = int(batch.application[row])
        says = (int(batch.value[row]), float(batch.weight[row]))
        if self.said.get(application, (-1, 0.0)) == says:
            return
        features = batch.features[row : row + 1]
        if application in self.added:
            kept = np.exp([self.decays[application] - self.decay])
            self.learned = RULE.retract(self.learned, self.added.pop(application), kept, features)
        passed = max(int(batch.happened_at[row]) - self.newest_at, 0) / 700.0 if self.version else 0.0
        self.newest_at = max(self.newest_at, int(batch.happened_at[row]))
        self.decay += passed
        self.learned = RULE.fade(self.learned, np.exp([-passed]))
        if says[1] > 0:
            labels = Labels(features, batch.offset[row : row + 1], np.array([float(says[0])]), np.array([says[1]]))
            self.learned, self.added[application] = RULE.step(self.learned, {}, labels)
            self.decays[application] = self.decay
        self.said[application] = says
        self.version += 1


@settings(max_examples=100)
@given(rows_of_labels, st.integers(0, 2**32 - 1))
def test_every_entity_takes_its_labels_in_their_order(rows: list[Row], seed: int) -> None:
    batch = batch_of(rows, seed)
    entities, contributions = new_records()
    learn(RULE, entities, contributions, batch)

    by_hand = [ByHand() for _ in range(ENTITIES)]
    for row, entity in enumerate(batch.entity.tolist()):
        by_hand[entity].take(batch, row)
    for entity, expected in zip(entities, by_hand, strict=True):
        assert np.array_equal(entity["coefficients"], expected.learned["coefficients"][0])
        assert np.array_equal(entity["squares"], expected.learned["squares"][0])
        assert entity["version"] == expected.version
        assert entity["decay"] == expected.decay
        assert entity["newest_at"] == expected.newest_at
        assert entity["labels"] == sum(value >= 0 for value, _ in expected.said.values())


def learn_one(rows: list[Row]) -> tuple[np.void, np.void, Seen]:
    """Return what the first entity and its first application are after ``rows``."""
    entities, contributions = new_records()
    seen = learn(RULE, entities, contributions, batch_of(rows, seed=4))
    return entities[0], contributions[0], seen


def test_a_label_without_weight_adds_nothing_but_a_version() -> None:
    entity, contribution, seen = learn_one([Row(0, 0, 0.0)])
    assert not entity["coefficients"].any()
    assert not entity["squares"].any()
    assert not contribution["step"].any()
    assert contribution["gradient"] == 0
    assert (entity["version"], seen.learned.tolist()) == (1, [True])


def test_a_label_without_weight_does_not_feel_the_pull_of_the_prior() -> None:
    before, _, _ = learn_one([Row(1, 1, 1.0)])
    after, _, _ = learn_one([Row(1, 1, 1.0), Row(0, 0, 0.0)])
    kept = np.exp(-after["decay"])
    assert after["coefficients"] == pytest.approx(before["coefficients"] * kept, rel=1e-14)
    assert np.array_equal(after["squares"], before["squares"])


def test_what_was_learned_fades_over_the_event_time_between_two_labels() -> None:
    rows = [Row(0, 1, 1.0), Row(1, 0, 0.0), Row(2, 0, 0.0), Row(3, 0, 0.0)]
    batch = batch_of([row._replace(application=row.application % APPLICATIONS_EACH) for row in rows], seed=4)
    moments: Integers = np.array([1_000, 1_070, 900, 1_350])
    coefficients = []
    for end in range(1, len(rows)):
        entities, contributions = new_records()
        whole = Batch(**{**vars(batch), "happened_at": moments})
        learn(RULE, entities, contributions, part(whole, slice(0, end)))
        coefficients.append(entities[0]["coefficients"])
    first, second, third = coefficients
    assert second == pytest.approx(first * np.exp(-0.1), rel=1e-14)
    # What happened before the newest label fades nothing.
    assert np.array_equal(third, second)


def test_an_open_label_changes_only_the_revision_that_is_known() -> None:
    entity, contribution, seen = learn_one([Row(0, -1, 0.0)])
    assert (entity["version"], entity["labels"], entity["newest_at"]) == (0, 0, 0)
    assert contribution["revision"] == 1
    assert seen.learned.tolist() == [False]


def test_a_label_that_is_open_again_is_not_counted_any_more() -> None:
    entity, contribution, _ = learn_one([Row(0, 1, 1.0), Row(0, -1, 0.0)])
    assert np.abs(entity["coefficients"]).max() < 1e-12
    assert np.abs(entity["squares"]).max() < 1e-12
    assert (entity["version"], entity["labels"]) == (2, 0)
    assert not contribution["step"].any()


def test_the_score_of_a_label_leaves_out_what_its_application_had_added() -> None:
    _, _, seen = learn_one([Row(0, 0, 1.0), Row(0, 1, 1.0)])
    assert seen.log_odds.tolist() == [0.0, 0.0]
    assert seen.version.tolist() == [0, 1]


def test_the_newest_moment_never_goes_back() -> None:
    rows = [Row(0, 1, 1.0), Row(1, 1, 1.0), Row(2, 1, 1.0)]
    batch = batch_of(rows, seed=4)
    happened_at: Integers = np.array([500, 900, 100])
    entities, contributions = new_records()
    learn(RULE, entities, contributions, Batch(**{**vars(batch), "happened_at": happened_at}))
    assert entities[0]["newest_at"] == 900
