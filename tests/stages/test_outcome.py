"""What a stage makes of a chunk, put together of what it made of the chunk's parts."""

import numpy as np

from stream_qa.events import Message
from stream_qa.learning.drift import Seen
from stream_qa.learning.profile import Profile, SideProfile
from stream_qa.stages.state import Outcome, joined


def test_parts_of_a_chunk_are_joined_field_by_field() -> None:
    side = SideProfile.of(np.zeros((2, 1)), ["x"])
    profile = Profile(side, side, 0.5, np.array([], np.int64), np.array([]))
    seen = [Seen(number, profile, [], [], [], []) for number in (1, 2)]
    messages = [Message("labels", b"key", b"%d" % number) for number in range(3)]
    times = [np.array([moment]) for moment in (10, 20)]
    parts = [
        Outcome(
            {b"a": b"1", b"b": b"1"},
            messages[:2],
            unfinished=True,
            counted={"a kind": 2, "a model": 0},
            lessons=3,
            reasons={"opened": 1},
            ages=[1, 2],
            seen=seen[:1],
            notices=["one"],
            held_back=[("member-1", "harm")],
            delta_times=times[:1],
        ),
        Outcome({}, []),
        Outcome(
            {b"a": None, b"c": b"2"},
            messages[2:],
            unfinished=True,
            counted={"a kind": 1},
            lessons=4,
            reasons={"opened": 2, "positive": 1},
            ages=(3,),
            seen=seen[1:],
            notices=("two",),
            held_back=(("member-1", "released"),),
            delta_times=times[1:],
            left=5,
        ),
    ]
    whole = joined(parts)
    assert whole == Outcome(
        {b"a": None, b"b": b"1", b"c": b"2"},
        messages,
        unfinished=True,
        counted={"a kind": 3, "a model": 0},
        lessons=7,
        reasons={"opened": 3, "positive": 1},
        ages=[1, 2, 3],
        seen=seen,
        notices=["one", "two"],
        held_back=[("member-1", "harm"), ("member-1", "released")],
        delta_times=times,
        left=5,
    )
    # A field that is new here is not left out there.
    assert all(whole), dict(zip(Outcome._fields, whole, strict=True))
    assert not joined(parts[:2]).unfinished
