"""A whole training on a simulated log: what is in the bundle, and that the stages work with it as it says."""

from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from builders import DAY, as_records, label
from sklearn.metrics import log_loss, roc_auc_score

from stream_qa.bundle import Bundle, load_bundle, load_random_effects
from stream_qa.errors import StateFormatError, TrainingError
from stream_qa.events import Message, TopicNames
from stream_qa.events.dead_letter import EXCEPTION_CLASS
from stream_qa.labels import LabelPolicy
from stream_qa.learning.arrays import Floats
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.stages.state import MemoryState
from stream_qa.training.history import History, read_history
from stream_qa.training.joint_fit import HyperParameters, fit_jointly
from stream_qa.training.train import Training, train

TOPICS = TopicNames()
POLICY = LabelPolicy()
FAST = HyperParameters(prior_sweeps=10, most_sweeps=100)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[LogEvent]:
    """Give the events of a simulated market whose applications bring no score."""
    path: Path = tmp_path_factory.mktemp("log") / "log.jsonl"
    market = Marketplace(members=150, jobs=60, days=90, applications=4_000, features=3)
    log = simulate(market, np.random.default_rng(1))
    lines = [{name: value for name, value in event.items() if name != "global_log_odds"} for event in log.events()]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return read_log([path], TOPICS).events


@pytest.fixture(scope="module")
def until(events: list[LogEvent]) -> int:
    return events[0].time + 80 * DAY


@pytest.fixture(scope="module")
def history(events: list[LogEvent], until: int) -> History:
    return read_history(events, topics=TOPICS, policy=POLICY, until=until, max_message_bytes=1_000_000)


@pytest.fixture(scope="module")
def training(history: History, until: int) -> Training:
    return train(history, policy=POLICY, until=until, parameters=FAST)


@pytest.fixture(scope="module")
def bundle(training: Training, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("models") / "bundle"
    training.write(directory)
    return load_bundle(directory)


def test_it_describes_what_it_was_trained_on(bundle: Bundle, history: History, until: int) -> None:
    description, matured = bundle.manifest.description, history.matured
    assert description.until == until
    assert description.last_applied_at == history.applied_at[matured].max() <= until - 14 * DAY
    assert (description.applications, description.positives) == (matured.sum(), history.rows.value[matured].sum())
    assert description.members == len(np.unique(history.rows.members.of[matured]))
    assert description.hyper_parameters["feature_bound"] == 5.0
    assert LabelPolicy.model_validate(description.policy) == POLICY
    assert bundle.curves is not None


def test_the_same_training_is_the_same_bundle(history: History, until: int, bundle: Bundle, tmp_path: Path) -> None:
    again = train(history, policy=POLICY, until=until, parameters=FAST).write(tmp_path / "again")
    assert again == bundle.manifest
    for path in bundle.directory.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_the_coefficients_are_those_of_the_fit(bundle: Bundle, history: History) -> None:
    effects = load_random_effects(bundle)
    rows = history.rows.select(history.matured)
    fit = fit_jointly(rows, FAST)
    assert [effects.members.ids, effects.jobs.ids] == [rows.members.ids, rows.jobs.ids]
    assert effects.members.coefficients.tolist() == fit.member.coefficients.tolist()
    assert effects.jobs.coefficients.tolist() == fit.job.coefficients.tolist()
    assert effects.jobs.labels.sum() == bundle.manifest.description.applications
    assert effects.jobs.newest_at.max() == history.happened_at[history.matured].max()


def test_the_held_out_weeks_are_scored_by_a_fit_that_has_not_seen_them(training: Training, history: History) -> None:
    held_out = training.description.held_out
    assert held_out is not None
    assert held_out.until - held_out.since == 28 * DAY
    before = history.matured & (history.applied_at + POLICY.window <= held_out.since)
    tried = history.matured & (history.applied_at > held_out.since)
    known, rows = history.rows.select(before), history.rows.select(tried)
    fit = fit_jointly(known, FAST)
    by_all = fit.global_model.score(rows.member_features, rows.job_features)
    by_member = dict(zip(known.members.ids, fit.member.coefficients, strict=True))
    by_job = dict(zip(known.jobs.ids, fit.job.coefficients, strict=True))
    of_job = fit.global_model.job_features.apply(rows.job_features)
    of_member = fit.global_model.member_features.apply(rows.member_features)
    effects = np.array(
        [
            _effect(by_member.get(rows.members.ids[member]), job_features)
            + _effect(by_job.get(rows.jobs.ids[job]), member_features)
            for member, job, job_features, member_features in zip(
                rows.members.of, rows.jobs.of, of_job, of_member, strict=True
            )
        ]
    )
    for quality, odds in ((held_out.global_only, by_all), (held_out.personalised, by_all + effects)):
        assert quality.auc == pytest.approx(roc_auc_score(rows.value, odds))
        assert quality.log_loss == pytest.approx(log_loss(rows.value, 1 / (1 + np.exp(-odds))))
    assert (held_out.applications, held_out.positives) == (len(rows), rows.value.sum())


def _effect(coefficients: Floats | None, features: Floats) -> float:
    return 0.0 if coefficients is None else float(coefficients[0] + coefficients[1:] @ features)


def test_the_shares_by_day_are_those_of_first_positive_engagements(training: Training, history: History) -> None:
    positive = history.matured & (history.rows.value == 1)
    days = (history.agreed_at - history.applied_at)[positive] / DAY
    assert training.answered_by_day == pytest.approx([(days <= day).mean() for day in range(1, 15)])


def test_a_short_log_holds_nothing_out(history: History, until: int) -> None:
    young = replace(history, matured=history.matured & (history.applied_at > history.applied_at.max() - 35 * DAY))
    assert train(young, policy=POLICY, until=until, parameters=FAST).description.held_out is None


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_labels_that_are_all_alike_are_nothing_to_train_on(history: History, until: int, value: float) -> None:
    alike = replace(history, matured=history.matured & (history.rows.value == value))
    with pytest.raises(TrainingError, match="positive" if value else "negative"):
        train(alike, policy=POLICY, until=until)


def test_without_matured_applications_there_is_nothing_to_train_on(history: History, until: int) -> None:
    with pytest.raises(TrainingError, match="14 days"):
        train(replace(history, matured=np.zeros_like(history.matured)), policy=POLICY, until=until)


class Emitted:
    """Keeps the messages of a replay by topic."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Message]] = {}

    def add(self, message: Message) -> None:
        self.messages.setdefault(message.topic, []).append(message)

    def content(self, topic: str) -> list[dict[str, object]]:
        return [orjson.loads(message.value or b"") for message in self.messages.get(topic, [])]


@pytest.fixture(scope="module")
def emitted(bundle: Bundle, events: list[LogEvent]) -> Emitted:
    emitted = Emitted()
    stages = InProcessReplay(build_pipeline(Settings(bundle=bundle.directory)), 2, emitted)
    for chunk in chunks(events[:1_500], 300, DAY):
        stages.run(chunk)
    return emitted


def test_the_stages_score_by_the_global_model_of_the_bundle(bundle: Bundle, emitted: Emitted) -> None:
    scores = {str(score["application_id"]): score for score in emitted.content(TOPICS.scores)}
    assert len(scores) > 500
    assert {score["model_version"] for score in scores.values()} == {bundle.version}
    labels = {str(label["application_id"]): label for label in emitted.content(TOPICS.labels)}
    of_members = np.array([labels[one]["member_features"] for one in scores])
    of_jobs = np.array([labels[one]["job_features"] for one in scores])
    odds = bundle.global_model.score(of_members, of_jobs)
    assert [score["global_log_odds"] for score in scores.values()] == pytest.approx(odds.tolist())


def test_the_published_coefficients_belong_to_standardised_features(bundle: Bundle, emitted: Emitted) -> None:
    """What a server computes from the deltas is what a score of the same version says."""
    members: dict[object, Floats] = {}
    versions: dict[object, object] = {}
    for delta in emitted.content(TOPICS.coefficients):
        if delta["entity_kind"] == "member":
            entity = delta["entity_id"]
            members[entity] = members.get(entity, 0.0) + np.frombuffer(b64decode(str(delta["change"])))
            versions[entity] = delta["version"]
    features_of = {one["application_id"]: one["job_features"] for one in emitted.content(TOPICS.labels)}
    compared = 0
    for score in emitted.content(TOPICS.scores):
        entity = score["member_id"]
        if versions.get(entity) == score["member_version"]:
            (features,) = bundle.global_model.job_features.apply(np.array([features_of[score["application_id"]]]))
            served = members[entity][0] + members[entity][1:] @ features
            assert served == pytest.approx(score["member_log_odds"], abs=1e-6)
            compared += 1
    assert compared > 5


def test_an_application_with_other_features_than_the_bundle_has_is_a_dead_letter(
    bundle: Bundle, events: list[LogEvent]
) -> None:
    longer = [with_one_more_feature(event) for event in events if event.topic == TOPICS.applications][:50]
    emitted = Emitted()
    InProcessReplay(build_pipeline(Settings(bundle=bundle.directory)), 1, emitted).run(longer)
    reasons = {dict(letter.headers)[EXCEPTION_CLASS] for letter in emitted.messages[TOPICS.dead_letters]}
    assert len(emitted.messages[TOPICS.dead_letters]) == 50
    assert {(reason or b"").rpartition(b".")[2] for reason in reasons} == {b"FeatureSchemaMismatchError"}


def with_one_more_feature(event: LogEvent) -> LogEvent:
    content = orjson.loads(event.value)
    return event._replace(value=orjson.dumps(content | {"job_features": [*content["job_features"], 1.0]}))


def test_a_learner_of_another_number_of_features_does_not_go_on_with_the_bundle(bundle: Bundle) -> None:
    state = MemoryState()
    labels = as_records([label(job_features=[1.0])])
    state.apply(build_pipeline(Settings()).member.process(0, labels, state).changes)
    with pytest.raises(StateFormatError):
        build_pipeline(Settings(bundle=bundle.directory)).member.process(0, labels, state)
