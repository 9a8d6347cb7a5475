"""What a sample says one application costs, beside counts of another make."""

from collections import Counter
from itertools import groupby

import pytest
from builders import DAY, START, application, engagement

from stream_qa.capacity.sample import Sample, simulated_events, take_sample
from stream_qa.errors import LogError
from stream_qa.events import Message
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline

SETTINGS = Settings()
TOPICS = SETTINGS.topics


@pytest.fixture(scope="module")
def events() -> list[LogEvent]:
    return simulated_events(build_pipeline(SETTINGS), features=4, seed=3)


@pytest.fixture(scope="module")
def sample(events: list[LogEvent]) -> Sample:
    return take_sample(build_pipeline(SETTINGS), events)


class Sink:
    """Counts what is emitted."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def add(self, message: Message) -> None:
        self.records[message.topic] += 1
        self.bytes[message.topic] += len(message.key or b"") + len(message.value or b"")


def test_messages_are_those_of_a_replay_and_the_labels_that_close_what_it_leaves_open(
    events: list[LogEvent], sample: Sample
) -> None:
    sink = Sink()
    stages = InProcessReplay(build_pipeline(SETTINGS), 1, sink)
    for _, day in groupby(events, key=lambda event: event.time // DAY):
        stages.run(list(day))
    applications = sum(event.topic == TOPICS.applications for event in events)
    assert sample.sent[TOPICS.scores].records == sink.records[TOPICS.scores] / applications == 1
    left_open = sample.sent[TOPICS.labels].records * applications - sink.records[TOPICS.labels]
    # Three months, and a window of two weeks at their end: of what is sent then, three in four have had no answer.
    assert 0 < left_open < 2 / 12 * applications
    bytes_of_a_score = sink.bytes[TOPICS.scores] / sink.records[TOPICS.scores]
    assert sample.sent[TOPICS.scores].bytes == pytest.approx(bytes_of_a_score, abs=15)


def test_an_application_that_is_over_holds_two_small_records(sample: Sample) -> None:
    assert sample.over_state.records == 2
    assert sample.over_state.bytes < 120
    # The life cycle, its entry in two indexes, and what its label has added to its member and its job.
    assert 4 <= sample.open_state.records <= 6
    assert sample.open_state.bytes > 5 * sample.over_state.bytes


def test_what_is_open_is_not_more_for_being_remembered_longer(events: list[LogEvent]) -> None:
    """State by application does not depend on when the log happens to end."""
    half = take_sample(build_pipeline(SETTINGS), [event for event in events if event.time < events[0].time + 60 * DAY])
    whole = take_sample(build_pipeline(SETTINGS), events)
    assert half.open_state.bytes == pytest.approx(whole.open_state.bytes, rel=0.1)
    assert half.over_state.bytes == pytest.approx(whole.over_state.bytes, rel=0.05)


def test_more_features_are_more_bytes_where_there_are_features(sample: Sample) -> None:
    wider = take_sample(build_pipeline(SETTINGS), simulated_events(build_pipeline(SETTINGS), features=8, seed=3))
    assert wider.sent[TOPICS.labels].bytes > sample.sent[TOPICS.labels].bytes
    assert wider.entity_bytes > sample.entity_bytes
    assert wider.sent[TOPICS.engagements].bytes == pytest.approx(sample.sent[TOPICS.engagements].bytes, rel=0.1)


def test_a_log_of_ones_own_is_a_sample_too() -> None:
    events = [
        LogEvent(START, 0, application().model_dump_json().encode(), b"job-1", TOPICS.applications),
        LogEvent(START + DAY, 1, engagement().model_dump_json().encode(), b"job-1", TOPICS.engagements),
    ]
    taken = take_sample(build_pipeline(SETTINGS), events)
    assert (taken.days, taken.engagements) == (1, 1)
    # It opens, it is answered; nothing is over.
    assert taken.sent[TOPICS.labels].records == 2
    assert taken.over_state.records == 0


@pytest.mark.parametrize("kind", ["nothing", "no application", "no time"])
def test_a_sample_of_nothing_is_refused(kind: str) -> None:
    opened = LogEvent(START, 0, application().model_dump_json().encode(), b"job-1", TOPICS.applications)
    answered = LogEvent(START + DAY, 1, engagement().model_dump_json().encode(), b"job-1", TOPICS.engagements)
    events = {"nothing": [], "no application": [answered], "no time": [opened]}[kind]
    with pytest.raises(LogError, match="applications"):
        take_sample(build_pipeline(SETTINGS), events)
