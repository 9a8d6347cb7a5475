"""A retraining by itself: what is promoted, what is refused, and what is left of one that was killed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from retraining_ground import BASE_RATE, HELD_BACK_DAYS, RetrainingGround, poisoned

from stream_qa.bundle import load_bundle
from stream_qa.durations import DAY
from stream_qa.errors import BrokerUnavailableError, RetrainingError
from stream_qa.events import PublishedModel, wire
from stream_qa.labels import LabelPolicy
from stream_qa.retraining.gate import Gate
from stream_qa.retraining.report import Outcome, Verdict
from stream_qa.retraining.retrain import Options, Retraining
from stream_qa.retraining.shelf import Shelf
from stream_qa.settings import Settings
from stream_qa.streaming.publications import Publication, Publications
from stream_qa.training.label_log import LabelLog

SETTINGS = Settings(base_rate=BASE_RATE)
STEPS = ["trained", "kept", "tried", "reported", "published", "cleared"]


@dataclass
class Group:
    """A group's directory, and what was published; tests/kafka/test_retraining_live.py publishes on a broker."""

    directory: Path
    published: list[Publication] = field(default_factory=list)
    settings: Settings = SETTINGS

    def publish(self, model: PublishedModel) -> int:
        number = len(self.published) + 1
        self.published.append(Publication(number, model, load_bundle(Path(model.location), model.sha256), None))
        return number

    def retrain(
        self,
        labels: Iterable[wire.Label],
        *,
        standing: Callable[[], Publications] | None = None,
        told: Callable[[str], object] = lambda _step: None,
        **options: Any,  # noqa: ANN401 # those of a retraining
    ) -> Outcome:
        log = LabelLog(self.settings.topics, LabelPolicy())
        for label in labels:
            log.add(label)
        return Retraining(
            self.settings,
            Options(**{"held_back_days": HELD_BACK_DAYS, "gate": Gate(least_applications=100), **options}),
            Shelf(self.directory),
            log,
            standing=standing or (lambda: Publications(list(self.published))),
            publish=self.publish,
            told=told,
        ).run()

    def reports(self) -> list[dict[str, Any]]:
        return [orjson.loads(path.read_bytes()) for path in sorted(self.directory.glob("reports/*.json"))]

    @property
    def in_use(self) -> str | None:
        found = Publications(self.published).in_use
        return None if found is None else found.model.version


class Killed(BaseException):
    """Stands for the end of the process: no code of ours catches it."""


def killed_after(step: str) -> Callable[[str], None]:
    def told(done: str) -> None:
        if done == step:
            raise Killed

    return told


def before(labels: list[wire.Label], moment: int) -> list[wire.Label]:
    return [label for label in labels if max(label.watermark, label.happened_at) < moment]


def test_a_group_without_a_bundle_gets_its_first_and_then_better_ones_only(
    retraining_ground: RetrainingGround, tmp_path: Path
) -> None:
    group = Group(tmp_path)
    labels = retraining_ground.labels
    first = group.retrain(before(labels, labels[-1].watermark - 10 * DAY))
    assert (first.verdict, first.number, first.incumbent, first.global_model) == ("promoted", 1, "none", "retrained")
    assert group.in_use == first.candidate
    bundle = load_bundle(tmp_path / str(first.candidate))
    assert bundle.global_model.member_features.bound == SETTINGS.feature_bound
    assert np.all(np.asarray(bundle.global_model.member_features.scales) == 1)

    # Ten days later: nothing new that the gate would be sure of, and its global model is young.
    second = group.retrain(labels)
    assert (second.verdict, second.incumbent, second.global_model) == ("refused", first.candidate, "kept")
    assert second.judgement is not None
    assert second.judgement.improvement_low <= 0.0005
    assert group.in_use == first.candidate
    kept = load_bundle(tmp_path / str(second.candidate))
    assert kept.manifest.description.global_until == bundle.manifest.description.until
    assert kept.manifest.description.until == second.trained_until
    assert second.difference is not None
    assert second.difference["global"]["same"]
    assert second.difference["scales"]["same"]

    # The same again: there is nothing that the incumbent has not seen.
    third = group.retrain(before(labels, labels[-1].watermark - 10 * DAY))
    assert third.candidate is None
    assert "the incumbent was trained on what was known at" in third.reason

    reports = group.reports()
    assert sorted(report["verdict"] for report in reports) == ["promoted", "refused", "refused"]
    assert all(report["reason"] for report in reports)
    readable = [path.read_text() for path in tmp_path.glob("reports/*.md")]
    assert sum("# Promoted: " in text and "published with number 1" in text for text in readable) == 1
    assert sum("# Refused: " in text for text in readable) == 2


def test_one_that_was_trained_on_poison_is_refused(retraining_ground: RetrainingGround, tmp_path: Path) -> None:
    group = Group(tmp_path, settings=Settings(base_rate=0.25))
    outcome = group.retrain(poisoned(retraining_ground.labels, retraining_ground.held_back_since))
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.judgement is not None
    assert outcome.judgement.improvement_high < 0
    assert group.in_use is None
    assert (tmp_path / str(outcome.candidate)).exists()


@pytest.mark.parametrize(("days", "said"), [(1, "nothing to train on yet"), (24, "nothing to train on yet")])
def test_a_young_group_waits(retraining_ground: RetrainingGround, tmp_path: Path, days: int, said: str) -> None:
    outcome = Group(tmp_path).retrain(before(retraining_ground.labels, retraining_ground.events[0].time + days * DAY))
    assert (outcome.verdict, outcome.candidate) == (Verdict.REFUSED, None)
    assert said in outcome.reason


def test_killed_after_any_step_the_incumbent_stays_and_it_can_be_done_again(
    retraining_ground: RetrainingGround, tmp_path: Path
) -> None:
    group = Group(tmp_path)
    for step in STEPS[: STEPS.index("published")]:
        with pytest.raises(Killed):
            group.retrain(retraining_ground.labels, told=killed_after(step))
        assert group.published == []
        assert all(load_bundle(tmp_path / version).version == version for version in Shelf(tmp_path).versions())
    with pytest.raises(Killed):
        group.retrain(retraining_ground.labels, told=killed_after("published"))
    # It was published, and its report was there before, which does not say more than was done then.
    [report] = [one for one in group.reports() if one["verdict"] == "passed"][-1:]
    assert (group.in_use, len(group.published)) == (report["candidate"], 1)
    again = group.retrain(retraining_ground.labels)
    assert (again.verdict, again.candidate, len(group.published)) == (Verdict.REFUSED, None, 1)


def test_one_that_could_not_be_published_is_not_reported_as_promoted(
    retraining_ground: RetrainingGround, tmp_path: Path
) -> None:
    class WithoutBroker(Group):
        def publish(self, _model: PublishedModel) -> int:
            raise BrokerUnavailableError("nobody answers")

    with pytest.raises(BrokerUnavailableError):
        WithoutBroker(tmp_path).retrain(retraining_ground.labels)
    [report] = WithoutBroker(tmp_path).reports()
    assert (report["verdict"], report["number"]) == ("passed", None)
    [readable] = tmp_path.glob("reports/*.md")
    assert readable.read_text().startswith(f"# Passed: {report['candidate']}")


def test_what_was_rolled_back_is_not_promoted_again(retraining_ground: RetrainingGround, tmp_path: Path) -> None:
    group = Group(tmp_path)
    promoted = group.retrain(retraining_ground.labels)
    assert promoted.verdict is Verdict.PROMOTED
    [bad] = group.published
    # Another one took its place that was in use before, and is not on this shelf.
    elsewhere = Publication(
        2, bad.model.model_copy(update={"version": "older", "withdraws": bad.model.version}), None, None
    )
    standing = Publications([bad, elsewhere])
    again = group.retrain(retraining_ground.labels, standing=lambda: standing)
    assert (again.verdict, again.candidate) == (Verdict.REFUSED, promoted.candidate)
    assert again.reason == "this very bundle was rolled back"


def test_one_at_a_time(retraining_ground: RetrainingGround, tmp_path: Path) -> None:
    with Shelf(tmp_path).alone(), pytest.raises(RetrainingError, match="another retraining"):
        Group(tmp_path).retrain(retraining_ground.labels)


def test_a_roll_back_meanwhile_is_not_overruled(retraining_ground: RetrainingGround, tmp_path: Path) -> None:
    group = Group(tmp_path)
    other = Publication(
        1, PublishedModel(version="other", feature_schema="", location="x", sha256="0" * 64), None, "no"
    )
    looks: list[Publications] = []

    def standing() -> Publications:
        looks.append(Publications([] if not looks else [_usable(other)]))
        return looks[-1]

    def _usable(one: Publication) -> Publication:
        [version] = Shelf(tmp_path).versions()
        return Publication(one.number, one.model, load_bundle(tmp_path / version), None)

    outcome = group.retrain(retraining_ground.labels, standing=standing)
    assert outcome.verdict is Verdict.REFUSED
    assert "somebody published another one meanwhile" in outcome.reason
    assert group.published == []
