"""Which number a new generation gets, which one is meant, and what it must have to learn from."""

from pathlib import Path

import pytest
from evaluation_ground import EvaluationGround

from stream_qa.errors import GenerationError, IncompleteInputsError
from stream_qa.events import Generation, PublishedModel
from stream_qa.rebuild.beginning import environment, newest, next_number, serving
from stream_qa.rebuild.inputs import Inputs, check_inputs
from stream_qa.settings import Settings
from stream_qa.streaming.generation_topic import Generations

A, B = (PublishedModel(version=name, feature_schema="v1", location=f"/{name}", sha256=name * 64) for name in ("a", "b"))
DAY = 86_400_000


def known(
    *begun: tuple[int, PublishedModel | None], serves: int | None = None, ended: int | None = None
) -> Generations:
    """Return what the topic says after these were begun, one serves and one is ended."""
    generations = {
        number: Generation(generation=number, bundle=bundle, ended=number == ended) for number, bundle in begun
    }
    return Generations(generations, None if serves is None else generations[serves])


@pytest.mark.parametrize(
    ("before", "bundle", "number"),
    [
        (known(), A, 2),
        (known((1, A), (2, B)), B, 2),  # it is gone on with
        (known((1, A), (2, B)), A, 3),
        (known((1, A), (2, B), serves=2), B, 2),  # also when it serves
        (known((1, A), (2, B), serves=1), B, 2),  # after an undoing
        (known((1, A), (2, B), ended=2), B, 3),  # its number was used
        (known((1, None)), None, 2),  # another rule, say
        (known((1, A), (2, A), (3, B)), A, 4),
    ],
)
def test_a_generation_gets_a_number_that_was_never_used_or_is_gone_on_with(
    before: Generations, bundle: PublishedModel | None, number: int
) -> None:
    assert next_number(before, Settings(), bundle) == number


def test_another_one_with_the_same_bundle_has_to_be_asked_for() -> None:
    assert next_number(known((1, A), (2, B)), Settings(), B, new=True) == 3
    assert next_number(known((1, A), (2, B)), Settings(generation=2), B) == 3


def test_the_number_is_beyond_that_of_the_settings() -> None:
    assert next_number(known(), Settings(generation=4), A) == 5


def test_before_the_first_switch_the_generation_serves_that_the_group_began_with() -> None:
    assert serving(known(), Settings(generation=4)) == 4
    assert serving(known((4, A), (5, B)), Settings(generation=4)) == 4
    # Wherever it is asked: a shell may have the variables of the new one's workers, or none.
    assert serving(known((4, A), (5, B)), Settings(generation=5)) == 4
    assert serving(known((4, A), (5, B)), Settings()) == 4
    assert serving(known((1, A), (2, B), (3, B), ended=1), Settings(generation=3)) == 2
    assert serving(known((1, A), (2, B), serves=2), Settings()) == 2


def test_the_newest_that_does_not_serve_is_meant() -> None:
    assert newest(known((1, A), (2, B), (3, B)), Settings()) == 3
    assert newest(known((1, A), (2, B), (3, B), serves=3), Settings()) == 2
    assert newest(known((1, A), (2, B), (3, B), ended=3), Settings()) == 2
    with pytest.raises(GenerationError, match="no generation beside 1"):
        newest(known((1, A)), Settings())


def test_a_worker_of_it_needs_three_variables_besides_those_of_all() -> None:
    settings = Settings(generation=2, bundle=Path("/bundle"), warm_start=True)
    assert environment(settings) == {
        "STREAM_QA_GENERATION": "2",
        "STREAM_QA_BUNDLE": "/bundle",
        "STREAM_QA_WARM_START": "true",
    }


def test_inputs_that_are_whole_may_be_read_from_their_beginning(evaluation_ground: EvaluationGround) -> None:
    whole = Inputs(records=10, gone=0, since=1, arrived_at=1)
    for bundle in (None, evaluation_ground.bundle.directory):
        check_inputs(whole, bundle, warm_start=False)


@pytest.mark.parametrize("since", [DAY, None])
def test_inputs_whose_beginning_is_gone_are_refused_without_a_warm_start(since: int | None) -> None:
    said = "1970-01-02T00:00:00" if since else "nothing"
    with pytest.raises(IncompleteInputsError, match=f"the first 7 records .* gone, .* go back to {said}"):
        check_inputs(Inputs(records=10, gone=7, since=since, arrived_at=1), None, warm_start=False)


def test_a_warm_start_is_refused_where_it_knows_what_is_read_again(evaluation_ground: EvaluationGround) -> None:
    directory, until = evaluation_ground.bundle.directory, evaluation_ground.bundle.manifest.description.until
    check_inputs(Inputs(records=10, gone=7, since=until, arrived_at=1), directory, warm_start=True)
    with pytest.raises(IncompleteInputsError, match="what lies between would count twice; train it with --until"):
        check_inputs(Inputs(records=10, gone=7, since=until - 1, arrived_at=1), directory, warm_start=True)
