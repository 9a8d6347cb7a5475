"""Scores as the workers make them, from what servers hold."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_ground import MODEL, SCHEMA, model_scorer

from stream_qa.coefficients import LookedUp
from stream_qa.errors import UnfitRequestError
from stream_qa.events import EntityKind
from stream_qa.learning import GRID, Prior, RandomEffect
from stream_qa.learning.arrays import Floats
from stream_qa.learning.entity import entity_type, pack_many, unpack_many
from stream_qa.serving.scoring import Pairs, Scored, Scorer, Side
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import first_model

SCORER = model_scorer()
numbers = st.floats(-30, 30)
vectors = st.tuples(numbers, numbers)


def held(vectors: Floats, *, labels: Sequence[int] | None = None, model: str = MODEL) -> LookedUp:
    """Return what is held of entities that all have learned."""
    count = len(vectors)
    ones = np.ones(count, np.int64)
    return LookedUp(vectors, ones, np.array(labels or [1] * count), ones, [model] * count)


def pairs(
    of_members: Sequence[Sequence[float]],
    of_jobs: Sequence[Sequence[float]],
    chosen: Sequence[tuple[int, int]],
    *,
    schema: str = SCHEMA,
    brought: float = np.nan,
) -> Pairs:
    return Pairs(
        schema,
        Side([f"m-{number}" for number in range(len(of_members))], np.array(of_members, np.float64)),
        Side([f"j-{number}" for number in range(len(of_jobs))], np.array(of_jobs, np.float64)),
        np.array([member for member, _ in chosen], np.int64),
        np.array([job for _, job in chosen], np.int64),
        np.full(len(chosen), brought),
    )


def score(asked: Pairs, members: LookedUp, jobs: LookedUp, by: Scorer = SCORER) -> Scored:
    found: dict[EntityKind, LookedUp] = {"member": members, "job": jobs}
    return by.score(asked, found)


def test_a_score_is_the_sum_of_three_parts_over_standardised_features() -> None:
    scored = score(
        pairs([[3.0, 14.0]], [[5.0]], [(0, 0)]), held(np.array([[0.5, 2.0]])), held(np.array([[-1.0, 0.25, 0.5]]))
    )
    # Standardised: 3 and 2 of the member, 1 of the job.
    assert scored.by_all.tolist() == [0.5 + 1.0 * 3 - 2.0 * 2 + 0.25 * 1]
    assert scored.by_member.tolist() == [0.5 + 2.0 * 1]
    assert scored.by_job.tolist() == [-1.0 + 0.25 * 3 + 0.5 * 2]
    assert scored.log_odds.tolist() == [-0.25 + 2.5 + 0.75]
    assert scored.probabilities.tolist() == [pytest.approx(1 / (1 + np.exp(-3.0)))]


def test_features_are_clipped_as_the_workers_do() -> None:
    scored = score(
        pairs([[1e300, 10.0]], [[1.0]], [(0, 0)]), held(np.array([[0.0, 0.0]])), held(np.array([[0.0, 1.0, 0.0]]))
    )
    assert scored.by_job.tolist() == [5.0]


@given(st.tuples(numbers, numbers, numbers), vectors)
def test_it_is_the_score_of_the_worker_up_to_the_grid(
    learned: tuple[float, float, float], features: tuple[float, float]
) -> None:
    effect = RandomEffect("job", Prior(4.0, 16.0), features=SCORER.member_features)
    entity = unpack_many(entity_type(effect.rule, 3), [None])
    entity["coefficients"] = learned
    of_worker, _ = effect.score(pack_many(entity), np.array([0]), np.array([features]))
    published = effect.published(entity["coefficients"])
    scored = score(pairs([features], [[1.0]], [(0, 0)]), held(np.zeros((1, 2))), held(published))
    assert scored.by_job == pytest.approx(of_worker, abs=GRID / 2 * 11 + 1e-9)


@given(st.lists(st.tuples(vectors, vectors, numbers, st.tuples(numbers, numbers, numbers)), min_size=1, max_size=6))
def test_a_score_does_not_depend_on_those_beside_it(
    rows: list[tuple[tuple[float, float], tuple[float, float], float, tuple[float, float, float]]],
) -> None:
    of_members, members, of_jobs, jobs = zip(*rows, strict=True)
    every = [(member, job) for member in range(len(rows)) for job in range(len(rows))]
    together = score(
        pairs(of_members, [[value] for value in of_jobs], every), held(np.array(members)), held(np.array(jobs))
    )
    for place, (member, job) in enumerate(every):
        alone = score(
            pairs([of_members[member]], [[of_jobs[job]]], [(0, 0)]),
            held(np.array([members[member]])),
            held(np.array([jobs[job]])),
        )
        assert alone.log_odds[0] == together.log_odds[place]


def test_what_the_request_brings_takes_the_place_of_the_global_model_within_its_bound() -> None:
    nobody = held(np.zeros((1, 2))), held(np.zeros((1, 3)))
    asked = [pairs([[3.0, 14.0]], [[5.0]], [(0, 0)], brought=brought) for brought in (0.75, 1e9)]
    assert [score(one, *nobody).by_all.tolist() for one in asked] == [[0.75], [30.0]]


def test_coefficients_count_whichever_model_of_the_group_they_were_learned_by() -> None:
    scored = score(
        pairs([[3.0, 14.0]], [[5.0]], [(0, 0)]),
        held(np.array([[0.5, 2.0]]), model="the one before"),
        held(np.array([[-1.0, 0.25, 0.5]])),
    )
    assert scored.by_member.tolist() == [2.5]


def test_labels_of_both_sides_stand_behind_a_pair() -> None:
    scored = score(
        pairs([[0.0, 0.0], [1.0, 1.0]], [[5.0]], [(1, 0), (0, 0)]),
        held(np.zeros((2, 2)), labels=[7, 20]),
        held(np.zeros((1, 3)), labels=[4]),
    )
    assert scored.labels.tolist() == [24, 11]


@pytest.mark.parametrize(
    ("schema", "member", "job"),
    [("one-and-two", [1.0, 2.0], [1.0]), (SCHEMA, [1.0], [1.0]), (SCHEMA, [1.0, 2.0], [])],
)
def test_other_features_than_the_models_are_refused(schema: str, member: list[float], job: list[float]) -> None:
    with pytest.raises(UnfitRequestError, match=r"where this service scores two-and-one"):
        SCORER.check(pairs([member], [job], [(0, 0)], schema=schema))


def test_without_a_bundle_any_features_are_scored_by_the_base_rate_and_what_was_learned() -> None:
    by = Scorer.of(first_model(Settings(base_rate=0.25)))
    asked = pairs([[1.0, 2.0]], [[3.0]], [(0, 0)], schema="whatever")
    by.check(asked)
    scored = score(asked, held(np.array([[0.5, 2.0]]), model="none"), held(np.zeros((1, 3)), model="none"), by)
    assert scored.by_all.tolist() == [pytest.approx(np.log(1 / 3))]
    assert scored.by_member.tolist() == [0.5 + 2.0 * 3.0]
    assert by.dimensions(asked) == {"member": 2, "job": 3}
