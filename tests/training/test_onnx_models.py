"""Bundles whose global model is an ONNX file, from the training to the stages."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from builders import DAY
from drawn import rows
from onnx_files import weighted
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from stream_qa.bundle import Bundle, load_bundle
from stream_qa.errors import BundleError, OnnxModelError
from stream_qa.events import Message, TopicNames
from stream_qa.labels import LabelPolicy
from stream_qa.learning import OnnxModel
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import LogEvent, chunks, read_log
from stream_qa.settings import Settings
from stream_qa.simulation import Marketplace, simulate
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.training.history import History, read_history
from stream_qa.training.joint_fit import HyperParameters, fit_jointly
from stream_qa.training.onnx_models import handed_in
from stream_qa.training.train import train
from stream_qa.training.trees import grow_trees

TOPICS = TopicNames()
POLICY = LabelPolicy()
FAST = HyperParameters(prior_sweeps=5, most_sweeps=50)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[LogEvent]:
    path: Path = tmp_path_factory.mktemp("log") / "log.jsonl"
    market = Marketplace(members=80, jobs=30, days=80, applications=1_500, features=2)
    log = simulate(market, np.random.default_rng(1)).events()
    lines = [{name: value for name, value in event.items() if name != "global_log_odds"} for event in log]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return read_log([path], TOPICS).events


@pytest.fixture(scope="module")
def until(events: list[LogEvent]) -> int:
    return events[0].time + 75 * DAY


@pytest.fixture(scope="module")
def history(events: list[LogEvent], until: int) -> History:
    return read_history(events, topics=TOPICS, policy=POLICY, until=until, max_message_bytes=1_000_000)


@pytest.fixture(scope="module")
def bundle(history: History, until: int, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("models") / "bundle"
    train(history, policy=POLICY, until=until, parameters=FAST, onnx_fit=grow_trees).write(directory)
    return load_bundle(directory)


def test_the_global_model_of_the_bundle_is_the_trees_of_its_rows(bundle: Bundle, history: History) -> None:
    trained = history.rows.select(history.matured)
    with threadpool_limits(1):
        trees = grow_trees(trained)
    assert isinstance(bundle.global_model, OnnxModel)
    assert bundle.global_model.function.content == trees.content


def test_the_held_out_weeks_are_scored_by_trees_that_have_not_seen_them(bundle: Bundle, history: History) -> None:
    held_out = bundle.manifest.description.held_out
    assert held_out is not None
    before = history.matured & (history.applied_at + POLICY.window <= held_out.since)
    tried = history.rows.select(history.matured & (history.applied_at > held_out.since))
    with threadpool_limits(1):
        odds = grow_trees(history.rows.select(before)).log_odds(tried.member_features, tried.job_features)
    assert held_out.global_only.auc == pytest.approx(roc_auc_score(tried.value, odds))


def test_the_same_training_is_the_same_bundle(bundle: Bundle, history: History, until: int, tmp_path: Path) -> None:
    again = train(history, policy=POLICY, until=until, parameters=FAST, onnx_fit=grow_trees).write(tmp_path / "again")
    assert again == bundle.manifest


def test_what_is_in_the_checks_is_of_no_application(bundle: Bundle, history: History) -> None:
    checks = orjson.loads((bundle.directory / "global.json").read_bytes())["checks"]
    sent = {tuple(row) for row in np.column_stack([history.rows.member_features, history.rows.job_features]).tolist()}
    made_up = {(*member, *job) for member, job in zip(checks["member_features"], checks["job_features"], strict=True)}
    assert len(made_up) == 32
    assert not made_up & sent


def test_the_effects_are_fitted_beside_what_the_model_says() -> None:
    drawn = rows(np.random.default_rng(1), 300, brought=0.3)
    fit = fit_jointly(drawn, FAST, onnx_fit=handed_in(weighted()))
    said = (drawn.member_features @ [1.0, -2.0]) + 0.25 * drawn.job_features[:, 0]
    beside = fit_jointly(replace(drawn, brought=np.where(np.isnan(drawn.brought), said, drawn.brought)), FAST)
    assert fit.member.coefficients == pytest.approx(beside.member.coefficients, abs=1e-9)
    assert fit.job.precisions == pytest.approx(beside.job.precisions, rel=1e-9)


def test_the_stages_score_by_it(bundle: Bundle, events: list[LogEvent]) -> None:
    emitted: list[Message] = []

    class Sink:
        add = staticmethod(emitted.append)

    stages = InProcessReplay(build_pipeline(Settings(bundle=bundle.directory)), 2, Sink())
    for chunk in chunks(events[:800], 100, DAY):
        stages.run(chunk)
    scores, labels = (
        {content["application_id"]: content for content in contents}
        for topic in (TOPICS.scores, TOPICS.labels)
        for contents in [[orjson.loads(message.value or b"") for message in emitted if message.topic == topic]]
    )
    assert len(scores) > 300
    assert {score["model_version"] for score in scores.values()} == {bundle.version}
    odds = bundle.global_model.score(
        np.array([labels[one]["member_features"] for one in scores]),
        np.array([labels[one]["job_features"] for one in scores]),
    )
    assert [score["global_log_odds"] for score in scores.values()] == odds.tolist()
    assert len(set(odds.tolist())) > 100


def test_a_bundle_whose_trees_were_changed_is_refused_by_a_worker(history: History, until: int, tmp_path: Path) -> None:
    train(history, policy=POLICY, until=until, parameters=FAST, onnx_fit=grow_trees).write(tmp_path / "bundle")
    path = tmp_path / "bundle" / "global.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="changed or damaged"):
        build_pipeline(Settings(bundle=tmp_path / "bundle"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            weighted(shape=("n", 4), numbers=[1, 2, 3, 4]),
            r"the shape \['n', 4\] where the log's features need \(n, 3\)",
        ),
        (weighted(then="Log"), "no finite number for .* of 200 applications"),
    ],
)
def test_a_file_that_cannot_score_what_is_trained_on_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(OnnxModelError, match=reason):
        fit_jointly(rows(np.random.default_rng(2), 200), FAST, onnx_fit=handed_in(content))
