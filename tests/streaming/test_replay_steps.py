"""How far a replay goes before what it has taught is known: steps of an hour, patience of 5 seconds."""

from stream_qa.streaming.replay_steps import NEVER, ReplaySteps

HOUR = 3_600_000
PATIENCE = 5.0
MORNING = 1_000 * HOUR


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def begun(clock: Clock | None = None) -> ReplaySteps:
    """Return the first step, in which two labels were sent."""
    steps = ReplaySteps(HOUR, PATIENCE, clock or Clock())
    assert steps.last(MORNING, is_first=True) == MORNING + HOUR - 1
    steps.sent(2)
    return steps


def test_a_step_is_of_event_time() -> None:
    steps = begun()
    assert steps.last(MORNING + HOUR - 1, is_first=True) == MORNING + HOUR - 1
    assert steps.waits is None


def test_the_next_step_waits_for_the_examples() -> None:
    steps = begun()
    assert steps.last(MORNING + HOUR, is_first=True) is None
    assert steps.waits == PATIENCE
    steps.came_back(1)
    assert steps.last(MORNING + HOUR, is_first=True) is None
    steps.came_back(1)
    assert steps.last(MORNING + 3 * HOUR, is_first=True) == MORNING + 4 * HOUR - 1
    assert steps.waits is None


def test_the_next_step_waits_for_the_labels_of_the_one_before_to_be_made() -> None:
    steps = ReplaySteps(HOUR, PATIENCE, Clock())
    steps.last(MORNING, is_first=True)
    assert steps.last(MORNING + HOUR, is_first=False) is None
    assert steps.waits is None
    assert steps.last(MORNING + HOUR, is_first=True) is not None


def test_what_comes_as_fast_as_the_clock_waits_for_nothing() -> None:
    clock = Clock()
    steps = begun(clock)
    clock.seconds += HOUR / 1000
    assert steps.last(MORNING + HOUR, is_first=True) == MORNING + 2 * HOUR - 1


def test_examples_that_never_come_are_waited_for_once() -> None:
    clock = Clock()
    steps = begun(clock)
    assert steps.last(MORNING + HOUR, is_first=True) is None
    clock.seconds += PATIENCE
    assert steps.waits == 0
    assert steps.last(MORNING + HOUR, is_first=True) is not None
    assert steps.last(MORNING + 2 * HOUR, is_first=True) is not None


def test_examples_of_labels_from_before_the_beginning_are_owed_to_nobody() -> None:
    steps = ReplaySteps(HOUR, PATIENCE, Clock())
    steps.came_back(3)
    steps.last(MORNING, is_first=True)
    steps.sent(1)
    assert steps.last(MORNING + HOUR, is_first=True) is None


def test_a_new_session_owes_nothing() -> None:
    steps = begun()
    assert steps.last(MORNING + HOUR, is_first=True) is None
    steps.open()
    assert steps.waits is None
    assert steps.last(MORNING + HOUR, is_first=True) is not None


def test_steps_without_length_are_none() -> None:
    steps = ReplaySteps(0, PATIENCE, Clock())
    steps.sent(1)
    assert steps.last(MORNING, is_first=False) == NEVER
