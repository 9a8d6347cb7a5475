"""Records of where a lane is, and of which topics that was."""

import pytest

from stream_qa.errors import StateFormatError
from stream_qa.streaming.positions import (
    CHANGELOG_MARK,
    POSITION,
    UNKNOWN_TOPIC,
    Mark,
    Origin,
    Position,
    position_key,
)

TOPIC = b"0123456789abcdef"


@pytest.mark.parametrize("offset", [0, 1, 2**40])
def test_a_position_is_read_as_it_was_packed(offset: int) -> None:
    position = Position(offset, Origin(TOPIC, 12))
    assert Position.unpack(position.pack()) == position


def test_a_position_of_another_format_is_refused() -> None:
    with pytest.raises(StateFormatError, match="8 bytes"):
        Position.unpack(bytes(8))


@pytest.mark.parametrize("offset", [0, 2**40, -1])
def test_a_mark_is_read_as_it_was_packed(offset: int) -> None:
    mark = Mark(offset, 1_700_000_000_000, TOPIC)
    assert Mark.unpack(mark.pack()) == mark


def test_a_mark_of_another_format_is_none() -> None:
    assert Mark.unpack(bytes(8)) is None


@pytest.mark.parametrize(
    ("other", "may_be"),
    [
        (Origin(TOPIC, 4), True),
        (Origin(UNKNOWN_TOPIC, 4), True),
        (Origin(TOPIC[::-1], 4), False),
        (Origin(TOPIC, 5), False),
        (Origin(UNKNOWN_TOPIC, 5), False),
    ],
)
def test_a_topic_of_another_id_or_size_is_another(other: Origin, may_be: bool) -> None:
    assert Origin(TOPIC, 4).may_be(other) is may_be
    assert other.may_be(Origin(TOPIC, 4)) is may_be


def test_positions_of_two_sources_are_apart() -> None:
    keys = {position_key("applications"), position_key("engagements"), CHANGELOG_MARK}
    assert len(keys) == 3
    assert all(position_key(topic).startswith(POSITION) for topic in ("applications", "engagements"))
