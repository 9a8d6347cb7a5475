"""What is known of a log at a moment: the labels of the workers, and nothing of what came later."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
from builders import DAY, START, application, engagement
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_qa.errors import TrainingError
from stream_qa.events import Application, Engagement, Message, TopicNames
from stream_qa.labels import LabelPolicy
from stream_qa.learning import FeatureSchema
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.training.history import NEVER, History, read_history

TOPICS = TopicNames()
LATER = START + 100 * DAY


def log_of(events: Sequence[Application | Engagement]) -> list[LogEvent]:
    lines = [
        LogEvent(
            event.applied_at if isinstance(event, Application) else event.engaged_at,
            isinstance(event, Engagement),
            event.model_dump_json().encode(),
            event.job_id.encode(),
            TOPICS.applications if isinstance(event, Application) else TOPICS.engagements,
        )
        for event in events
    ]
    return sorted(lines)


def known(events: Sequence[LogEvent], until: int = LATER, policy: LabelPolicy | None = None) -> History:
    return read_history(events, topics=TOPICS, policy=policy or LabelPolicy(), until=until, max_message_bytes=1_000_000)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> list[LogEvent]:
    path: Path = tmp_path_factory.mktemp("log") / "log.jsonl"
    market = Marketplace(members=60, jobs=30, days=40, applications=600, features=3)
    log = simulate(market, np.random.default_rng(1))
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in log.events()))
    return read_log([path], TOPICS).events


def test_a_row_has_the_features_the_entities_and_the_label() -> None:
    sent = [
        application("a", member_id="m-1", job_id="j-1", global_log_odds=0.5),
        application("b", member_id="m-2", job_id="j-1", applied_at=START + 1, member_features=[3.0, 4.0]),
    ]
    history = known(log_of([*sent, engagement("message", application_id="b", job_id="j-1")]))
    assert history.schema == FeatureSchema("two-and-one", 2, 1)
    assert history.applied_at.tolist() == [START, START + 1]
    assert [history.rows.members.ids, history.rows.jobs.ids] == [["m-1", "m-2"], ["j-1"]]
    assert [history.rows.members.of.tolist(), history.rows.jobs.of.tolist()] == [[0, 1], [0, 0]]
    assert history.rows.member_features.tolist() == [[0.5, -1.0], [3.0, 4.0]]
    assert history.rows.job_features.tolist() == [[2.0], [2.0]]
    assert history.rows.brought[0] == 0.5
    assert np.isnan(history.rows.brought[1])
    assert history.rows.value.tolist() == [0.0, 1.0]
    assert history.happened_at.tolist() == [START + 14 * DAY, START + DAY]
    assert history.matured.tolist() == [True, True]


def test_the_first_answer_and_the_first_positive_one_are_known() -> None:
    answers = [("rejection", 2), ("offer", 5), ("message", 3)]
    events = [engagement(kind, engaged_at=START + day * DAY) for kind, day in answers]
    history = known(log_of([application(), *events]))
    assert history.answered_at.tolist() == [START + 2 * DAY]
    assert history.agreed_at.tolist() == [START + 3 * DAY]
    early = known(log_of([application(), engagement("message", engaged_at=START - 1)]))
    assert early.answered_at.tolist() == [START]
    silent = known(log_of([application(), engagement("note")]))
    assert [silent.answered_at.tolist(), silent.agreed_at.tolist()] == [[NEVER], [NEVER]]


@pytest.mark.parametrize(("day", "matured"), [(13, False), (14, True)])
def test_an_answer_matures_no_label_before_the_window_is_over(day: int, matured: bool) -> None:
    history = known(log_of([application(), engagement("message")]), until=START + day * DAY)
    assert history.matured.tolist() == [matured]


def test_time_moves_on_to_the_moment_without_any_event() -> None:
    assert known(log_of([application()]), until=START + 14 * DAY).matured.tolist() == [True]


def test_a_lateness_keeps_the_newest_from_being_matured() -> None:
    policy = LabelPolicy(lateness_minutes=60)
    until = START + 14 * DAY
    assert known(log_of([application()]), until + 3_599_999, policy).matured.tolist() == [False]
    assert known(log_of([application()]), until + 3_600_000, policy).matured.tolist() == [True]


def test_what_cannot_be_used_is_counted() -> None:
    other = application("other", feature_schema="another")
    history = known(log_of([application(), other, engagement(application_id="unknown")]))
    assert history.rejected == {"FeatureSchemaMismatchError": 1, "OrphanEngagementError": 1}


def test_a_log_without_applications_before_the_moment_is_refused() -> None:
    with pytest.raises(TrainingError):
        known(log_of([application()]), until=START)


def same(one: History, other: History) -> bool:
    arrays = ("applied_at", "happened_at", "matured", "answered_at", "agreed_at")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and np.array_equal(
        one.rows.value, other.rows.value
    )


@settings(max_examples=10)
@given(day=st.integers(1, 60))
def test_nothing_of_later_is_looked_at(simulated: list[LogEvent], day: int) -> None:
    until = simulated[0].time + day * DAY
    cut = [event for event in simulated if event.time < until]
    assert same(known(simulated, until), known(cut, until))


def test_the_labels_are_those_that_the_stages_send(simulated: list[LogEvent]) -> None:
    finals: dict[str, tuple[float, int]] = {}

    class Finals:
        def add(self, message: Message) -> None:
            if message.topic == TOPICS.labels and message.value is not None:
                label = orjson.loads(message.value)
                if label["final"]:
                    finals[label["application_id"]] = (label["value"], label["happened_at"])

    stages = InProcessReplay(build_pipeline(Settings()), 1, Finals())
    for chunk in chunks(simulated, 100, DAY):
        stages.run(chunk)
    history = known(simulated)
    ids = [orjson.loads(event.value)["application_id"] for event in simulated if event.topic == TOPICS.applications]
    ours = dict(zip(ids, zip(history.rows.value.tolist(), history.happened_at.tolist(), strict=True), strict=True))
    assert len(finals) > 300
    assert {application_id: ours[application_id] for application_id in finals} == finals
