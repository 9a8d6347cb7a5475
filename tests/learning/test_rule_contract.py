"""What every learning rule must hold to, whichever it is: state bytes and labels in, state bytes out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stream_qa.learning import SGD, AdaptiveSGD, Prior, RandomEffect, Rule, Window
from stream_qa.learning.arrays import Floats
from stream_qa.learning.entity import Records, RecordType, contribution_type, entity_type, pack_many, unpack_many
from stream_qa.learning.plan import Batch
from stream_qa.learning.rounds import learn
from stream_qa.learning.rule import Labels

DAY = 86_400_000
LAST_MOMENT = 253_402_300_799_999
ENTITIES = 3
RULES: list[Rule] = [AdaptiveSGD(), SGD(), Window()]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.number))


class Told(NamedTuple):
    """One label. An application's number says whose it is and which features and offset it has."""

    application: int
    value: int
    weight: float = 1.0
    days: float = 0.0

    @property
    def entity(self) -> int:
        return self.application % ENTITIES


class World:
    """Entities and applications as a table has them: bytes, or nothing yet."""

    def __init__(self, rule: Rule, dimension: int = 5, scale: float = 1.0) -> None:
        self.rule = rule
        self.scale = scale
        self.dimension = dimension
        self.entities: dict[int, bytes] = {}
        self.applications: dict[int, bytes] = {}
        self.revision = 1

    def take(self, *told: Told) -> None:
        """Learn one chunk."""
        entities = list(dict.fromkeys(label.entity for label in told))
        applications = list(dict.fromkeys(label.application for label in told))
        learned = unpack_many(self.entity_type, [self.entities.get(entity) for entity in entities])
        added = unpack_many(self.application_type, [self.applications.get(number) for number in applications])
        learn(self.rule, learned, added, self._batch(told, entities, applications))
        self.revision += len(told)
        self.entities.update(zip(entities, pack_many(learned), strict=True))
        self.applications.update(zip(applications, pack_many(added), strict=True))

    def take_one_at_a_time(self, told: Sequence[Told]) -> None:
        for label in told:
            self.take(label)

    @property
    def entity_type(self) -> RecordType:
        return entity_type(self.rule, self.dimension)

    @property
    def application_type(self) -> RecordType:
        return contribution_type(self.rule, self.dimension)

    def entity(self, entity: int = 0) -> Records:
        return unpack_many(self.entity_type, [self.entities.get(entity)])

    def coefficients(self, entity: int = 0) -> Floats:
        return np.asarray(self.entity(entity)["coefficients"][0])

    def bytes(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        return dict(self.entities), dict(self.applications)

    def _batch(self, told: Sequence[Told], entities: list[int], applications: list[int]) -> Batch:
        generators = [np.random.default_rng(label.application) for label in told]
        return Batch(
            entity=np.array([entities.index(label.entity) for label in told], np.int64),
            application=np.array([applications.index(label.application) for label in told], np.int64),
            features=np.array(
                [self.scale * generator.normal(size=self.dimension) for generator in generators], np.float64
            ).reshape(-1, self.dimension),
            offset=np.array([float(generator.normal()) for generator in generators]),
            value=np.array([label.value for label in told], np.int64),
            weight=np.array([0.0 if label.value < 0 else label.weight for label in told]),
            revision=self.revision + np.arange(len(told)),
            happened_at=np.array([1_000 * DAY + round(label.days * DAY) for label in told]),
        )


def told_by(applications: int = 8) -> st.SearchStrategy[list[Told]]:
    return st.lists(
        st.builds(
            Told,
            st.integers(0, applications - 1),
            st.sampled_from([-1, 0, 1]),
            st.sampled_from([0.0, 0.25, 1.0]),
            st.sampled_from([0.0, 1.0, 40.0, 400.0]),
        ),
        max_size=25,
    )


@every_rule
@settings(max_examples=40)
@given(told=told_by(), data=st.data())
def test_a_label_that_says_the_same_again_changes_no_byte(rule: Rule, told: list[Told], data: st.DataObject) -> None:
    world = World(rule)
    world.take_one_at_a_time(told)
    newest = {label.application: label for label in told}
    again = data.draw(st.lists(st.sampled_from(sorted(newest)), max_size=6)) if newest else []
    # Only the number of the revision is another.
    before = world.bytes()[0]
    world.take_one_at_a_time([newest[application]._replace(days=900.0) for application in again])
    assert world.bytes()[0] == before


@every_rule
@settings(max_examples=25)
@given(
    revision=st.tuples(
        st.sampled_from([Told(0, 0), Told(0, 1), Told(0, 1, 0.3), Told(0, 0, 0.7)]),
        st.sampled_from([Told(0, 0), Told(0, 1), Told(0, 1, 0.4), Told(0, 0, 0.0)]),
    ),
    earlier=st.integers(0, 10),
    later=st.floats(0, 500),
    scale=st.sampled_from([0.3, 1.0, 2.0, 3.0, 10.0]),
)
@example(revision=(Told(0, 0), Told(0, 1)), earlier=31, later=14.0, scale=1.0)
def test_a_revision_is_as_if_the_label_before_had_never_been(
    rule: Rule, revision: tuple[Told, Told], earlier: int, later: float, scale: float
) -> None:
    old, new = revision
    assume(old[1:3] != new[1:3])
    # The window rule comes so close to its optimum only by many steps.
    rule = replace(rule, newton_steps=12) if isinstance(rule, Window) else rule
    revised, fresh = (World(rule, dimension=3, scale=scale) for _ in range(2))
    history = [Told(ENTITIES * number, number % 2, days=float(number)) for number in range(1, 1 + earlier)]
    # A revision is one more version, so the fresh world has a label without weight for it, of another application.
    nothing = Told(ENTITIES * 1_000, 0, 0.0, 60.0)
    # A label without weight moves the window rule's coefficients only with the next one.
    then = [new._replace(days=60.0 + later), Told(ENTITIES * 2_000, 1, 1.0, 60.0 + later)]
    revised.take_one_at_a_time([*history, old._replace(days=60.0), *then])
    fresh.take_one_at_a_time([*history, nothing, *then])
    tolerance = 1e-7 if isinstance(rule, Window) else 1e-12
    assert revised.coefficients() == pytest.approx(fresh.coefficients(), abs=tolerance)
    for name in ("version", "newest_at", "decay"):
        assert revised.entity()[name] == fresh.entity()[name]


@every_rule
@settings(max_examples=60)
@given(told=told_by(), cuts=st.lists(st.integers(0, 25), max_size=4))
def test_any_cut_into_chunks_gives_the_same_bytes_as_one_label_at_a_time(
    rule: Rule, told: list[Told], cuts: list[int]
) -> None:
    cut, single = World(rule), World(rule)
    ends = [*sorted(cuts), len(told)]
    for start, end in zip([0, *ends], ends, strict=False):
        cut.take(*told[start:end])
    single.take_one_at_a_time(told)
    assert cut.bytes() == single.bytes()


@every_rule
@pytest.mark.parametrize("dimension", [1, 2, 7, 8, 9, 17, 33])
def test_an_entity_does_not_depend_on_those_beside_it(rule: Rule, dimension: int) -> None:
    generator = np.random.default_rng(dimension)
    many = 33
    features, offset = generator.normal(size=(3, many, dimension)), generator.normal(size=(3, many))
    value, weight = generator.integers(0, 2, (3, many)).astype(np.float64), generator.uniform(0.1, 1, (3, many))
    learned = {name: np.zeros((many, *shape), kind) for name, kind, shape in rule.learned_fields(dimension)}
    nothing = {name: np.zeros((many, *shape), kind) for name, kind, shape in rule.added_fields(dimension)}
    kept = generator.random(many)
    for labels in map(Labels, features, offset, value, weight):
        after, added = rule.step(learned, nothing, labels)
        again = rule.retract(rule.fade(after, kept), added, kept, labels.features)
        for row in range(many):
            only = slice(row, row + 1)
            alone, added_alone = rule.step(
                {name: column[only] for name, column in learned.items()},
                {name: column[only] for name, column in nothing.items()},
                Labels(*(column[only] for column in labels)),
            )
            again_alone = rule.retract(rule.fade(alone, kept[only]), added_alone, kept[only], labels.features[only])
            for together, single in ((after, alone), (added, added_alone), (again, again_alone)):
                for name, column in single.items():
                    assert column.tobytes() == together[name][only].tobytes(), name
        learned = after


@every_rule
@settings(max_examples=40)
@given(told=told_by(), data=st.data())
def test_the_order_counts_within_an_entity_and_not_between_entities(
    rule: Rule, told: list[Told], data: st.DataObject
) -> None:
    world, merged = World(rule), World(rule)
    world.take(*told)
    queues = [[label for label in told if label.entity == entity] for entity in range(ENTITIES)]
    in_another_order = []
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        in_another_order.append(queue.pop(0))
    merged.take(*in_another_order)
    assert merged.bytes()[0] == world.bytes()[0]


@every_rule
def test_labels_are_learned_in_the_order_in_which_they_are_given(rule: Rule) -> None:
    one_way, other_way = World(rule), World(rule)
    labels = [Told(ENTITIES * number, number % 2) for number in range(4)]
    one_way.take(*labels)
    other_way.take(*reversed(labels))
    assert not np.array_equal(one_way.coefficients(), other_way.coefficients())


@every_rule
@settings(max_examples=40)
@given(told=told_by())
def test_packed_state_comes_back_to_the_last_bit(rule: Rule, told: list[Told]) -> None:
    world = World(rule)
    world.take(*told)
    for kind, records in ((world.entity_type, world.entities), (world.application_type, world.applications)):
        unpacked = unpack_many(kind, list(records.values()))
        assert pack_many(unpacked) == list(records.values())
        assert unpack_many(kind, pack_many(unpacked)).tobytes() == unpacked.tobytes()


@every_rule
def test_the_state_of_an_entity_is_bounded(rule: Rule) -> None:
    world = World(rule)
    sizes = []
    for number in range(400):
        # All of them still wait for their final label.
        world.take(Told(ENTITIES * number, number % 2, 0.5, days=0.05 * number))
        sizes.append(len(world.entities[0]))
    assert max(sizes) == max(sizes[:40]) <= world.entity_type.dtype.itemsize
    assert {len(record) for record in world.applications.values()} <= set(
        range(1 + world.application_type.dtype.itemsize)
    )


finite = st.floats(allow_nan=False, allow_infinity=False)
told_extremes = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([-1, 0, 1]),
        st.sampled_from([0.0, 5e-324, 1e-9, 0.5, 1.0]),
        st.lists(finite, min_size=2, max_size=2),
        st.floats(-2e9, 2e9),
        st.integers(0, LAST_MOMENT),
    ),
    max_size=12,
)


@every_rule
@pytest.mark.parametrize("precision", [1e-10, 0.3, 60.0])
@settings(max_examples=60)
@given(told=told_extremes)
def test_numbers_stay_finite_and_within_the_bound_for_any_finite_input(
    rule: Rule, precision: float, told: list[tuple[int, int, float, list[float], float, int]]
) -> None:
    effect = RandomEffect("member", Prior(precision, precision), rule)
    entities = unpack_many(entity_type(rule, 3), [None])
    applications = unpack_many(contribution_type(rule, 3), [None] * 3)
    for revision, (application, value, weight, features, offset, happened_at) in enumerate(told, 1):
        batch = Batch(
            np.zeros(1, np.int64),
            np.array([application]),
            effect.whiten(np.array([features])),
            np.array([offset]),
            np.array([value]),
            np.array([0.0 if value < 0 else weight]),
            np.array([revision]),
            np.array([happened_at]),
        )
        seen = learn(rule, entities, applications, batch)
        assert np.isfinite(seen.log_odds).all()
        for records in (entities, applications):
            for name in records.dtype.names or ():
                assert np.isfinite(records[name]).all(), name
        assert np.abs(entities["coefficients"]).max() <= rule.coefficient_bound
        assert np.isfinite(effect.published(entities["coefficients"])).all()


@every_rule
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_million_steps_of_one_sign_stay_finite_and_within_the_bound(rule: Rule, value: float) -> None:
    # Once the coefficients are at their end, 32 steps add the same to every sum as the 32 before, so that most of the
    # million can be taken at once.
    effect = RandomEffect("job", Prior(0.3, 0.3), rule)
    features = effect.whiten(np.array([[1e300, -1e300]]))
    labels = Labels(features, np.array([(1 - 2 * value) * 1e9]), np.array([value]), np.ones(1))
    nothing = {name: np.zeros((1, *shape), kind) for name, kind, shape in rule.added_fields(3)}
    learned = {name: np.zeros((1, *shape), kind) for name, kind, shape in rule.learned_fields(3)}
    for _ in range(1_500):
        learned, _ = rule.step(learned, nothing, labels)
    before = learned
    for _ in range(32):
        learned, _ = rule.step(learned, nothing, labels)
    rounds = 1_000_000 // 32
    learned = {name: column + rounds * (column - before[name]) for name, column in learned.items()}
    for _ in range(500):
        learned, added = rule.step(learned, nothing, labels)
    for columns in (learned, added):
        for name, column in columns.items():
            assert np.isfinite(column).all(), name
    assert 0 < np.abs(learned["coefficients"]).max() <= rule.coefficient_bound


@every_rule
def test_a_label_without_weight_adds_nothing(rule: Rule) -> None:
    world = World(rule)
    world.take(Told(0, 1, 0.0))
    assert not world.coefficients().any()
    assert world.entity()["version"] == 1


@every_rule
def test_what_was_learned_fades_to_the_prior(rule: Rule) -> None:
    world = World(rule)
    world.take(*(Told(ENTITIES * number, 1) for number in range(20)))
    assert np.abs(world.coefficients()).max() > 0.1
    world.take(Told(ENTITIES * 20, 1, 1e-9, days=40 * 365))
    assert np.abs(world.coefficients()).max() < 1e-6


@every_rule
def test_a_rule_without_end_to_its_time_never_forgets(rule: Rule) -> None:
    world, at_once = World(replace(rule, time_constant=np.inf)), World(replace(rule, time_constant=np.inf))
    for number in range(6):
        world.take(Told(ENTITIES * number, number % 2, days=1e4 * number))
        at_once.take(Told(ENTITIES * number, number % 2))
    assert np.array_equal(world.coefficients(), at_once.coefficients())
    assert world.entity()["decay"] == 0


@every_rule
@settings(max_examples=40)
@given(told=told_by(), factor=st.lists(st.floats(0.1, 10), min_size=5, max_size=5))
def test_features_on_another_scale_change_no_score_of_what_was_learned(
    rule: Rule, told: list[Told], factor: list[float]
) -> None:
    world, features = World(rule), np.random.default_rng(5).normal(size=5)
    world.take_one_at_a_time(told)
    learned = {name: world.entity()[name] for name, *_ in rule.learned_fields(5)}
    rescaled = rule.rescale_learned(learned, np.array([factor]))
    # What the rescaling would bring beyond the bound is cut off there.
    assume(np.abs(rescaled["coefficients"]).max() < rule.coefficient_bound)
    after = rescaled["coefficients"][0] @ (features * factor)
    assert after == pytest.approx(learned["coefficients"][0] @ features, rel=1e-12, abs=1e-12)


@every_rule
def test_a_factor_of_one_changes_no_bit(rule: Rule) -> None:
    world, one = World(rule), np.ones((1, 5))
    world.take_one_at_a_time([Told(0, 1), Told(ENTITIES, 0, 0.5), Told(0, 0, days=40.0)])
    added = unpack_many(world.application_type, [world.applications[0]])
    for records, fields, rescaled in (
        (world.entity(), rule.learned_fields(5), rule.rescale_learned),
        (added, rule.added_fields(5), rule.rescale_added),
    ):
        for name, column in rescaled({name: records[name] for name, *_ in fields}, one).items():
            assert column.tobytes() == records[name].tobytes(), name


@every_rule
def test_a_label_is_taken_back_on_another_scale_as_on_its_own(rule: Rule) -> None:
    world, features, factor = (
        World(rule),
        np.random.default_rng(0).normal(size=(1, 5)),
        np.full((1, 5), [2.0, 0.5, 1, 3, 4]),
    )
    world.take_one_at_a_time([Told(ENTITIES, 1), Told(0, 0), Told(2 * ENTITIES, 1)])
    added = unpack_many(world.application_type, [world.applications[0]])
    of_entity = {name: world.entity()[name] for name, *_ in rule.learned_fields(5)}
    of_label = {name: added[name] for name, *_ in rule.added_fields(5)}
    kept = np.ones(1)
    before = rule.rescale_learned(rule.retract(of_entity, of_label, kept, features), factor)
    after = rule.retract(
        rule.rescale_learned(of_entity, factor), rule.rescale_added(of_label, factor), kept, features * factor
    )
    if isinstance(rule, Window):
        # It solves again, towards a prior of another scale; what it solves is the same.
        before, after = (
            {name: column for name, column in columns.items() if name != "coefficients"} for columns in (before, after)
        )
    for name, column in before.items():
        assert after[name] == pytest.approx(column, rel=1e-6, abs=1e-9), name
