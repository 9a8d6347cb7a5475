"""By which scales a table's records are whitened, when models have taken each other's place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_qa.errors import ModelChangedError, StateFormatError
from stream_qa.learning import AdaptiveSGD
from stream_qa.learning.entity import contribution_type, entity_type, pack_many, unpack_many
from stream_qa.learning.rescaling import rescale
from stream_qa.learning.whitening import Whitening, Whitenings

FIRST = Whitening(0, "first", np.array([0.5, 0.25]))
SECOND = Whitening(7, "second", np.array([1.0, 0.1]))
THIRD = Whitening(9, "third", np.array([2.0, 0.125]))
ALL = Whitenings([FIRST]).followed_by(SECOND).followed_by(THIRD)


def test_records_are_whitened_by_the_scale_of_their_model() -> None:
    assert ALL.scales(np.array([9, 0, 7])).tolist() == [[2.0, 0.125], [0.5, 0.25], [1.0, 0.1]]
    assert ALL.newest.model_version == "third"


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=2))
def test_they_are_read_as_they_were_written_to_the_last_bit(scale: list[float]) -> None:
    written = Whitenings([FIRST]).followed_by(Whitening(3, "other", np.array(scale)))
    read = Whitenings.unpack(written.pack(), FIRST)
    assert read.pack() == written.pack()
    assert read.newest.scale.tolist() == scale


def test_a_table_that_began_with_another_prior_is_refused() -> None:
    with pytest.raises(ModelChangedError, match="began with the priors of model first, and those of second"):
        Whitenings.unpack(ALL.pack(), SECOND)


def test_a_table_of_another_number_of_features_is_refused() -> None:
    with pytest.raises(StateFormatError):
        Whitenings.unpack(ALL.pack(), Whitening(0, "other", np.ones(3)))


def test_a_table_without_them_is_of_the_first_model() -> None:
    assert Whitenings.unpack(None, FIRST).pack() == Whitenings([FIRST]).pack()


def test_records_come_straight_into_the_newest_space_whatever_they_have_missed() -> None:
    rule = AdaptiveSGD()
    entities = unpack_many(entity_type(rule, 2), [None] * 3)
    entities["model"] = [0, 7, 9]
    entities["coefficients"] = [[4.0, 1.0], [2.0, 2.5], [1.0, 2.0]]
    applications = unpack_many(contribution_type(rule, 2), [None])
    rescale(rule, entities, applications, ALL)
    # All three are the same as servers have them: 2 and 0.25.
    assert entities["coefficients"] == pytest.approx(np.array([[1.0, 2.0]] * 3), abs=1e-12)
    assert entities["coefficients"][2].tolist() == [1.0, 2.0]
    assert entities["model"].tolist() == [9, 9, 9]
    assert applications["model"].tolist() == [9]


def test_what_is_in_the_newest_space_already_keeps_its_bytes() -> None:
    rule = AdaptiveSGD()
    entities = unpack_many(entity_type(rule, 2), [None])
    entities["coefficients"], entities["model"] = [0.1, 0.3], 9
    before = pack_many(entities)
    rescale(rule, entities, unpack_many(contribution_type(rule, 2), []), ALL)
    assert pack_many(entities) == before
