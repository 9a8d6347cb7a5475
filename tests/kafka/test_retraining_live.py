"""Retraining on a real broker: a real worker and the scoring service run on while models come, are refused, and go."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import orjson
import pytest
from ground import PROGRAM, Ground, new_ground
from refolding import delta_of
from retraining_ground import BASE_RATE, HELD_BACK_DAYS, RetrainingGround, poisoned, write_export
from service_process import asker, ready, service

from stream_qa.bundle import load_bundle
from stream_qa.durations import DAY
from stream_qa.learning import BaseRate, GlobalModel, Standardisation, published_log_odds
from stream_qa.learning.arrays import Floats
from stream_qa.training.label_files import exported_labels

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

REFUSED = 3
LEAST_APPLICATIONS = 100
_NOBODY = "nobody"


@pytest.fixture
def ground(broker: str, tmp_path: Path) -> Ground:
    """Give a group that begins without a bundle, with a base rate that is far off."""
    return new_ground(broker, tmp_path, base_rate=BASE_RATE)


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    said: Any


def run(ground: Ground, *arguments: str) -> Ran:
    """Run a command of ours in a process of its own, with ``--json``."""
    done = subprocess.run(
        [*PROGRAM, *arguments, "--json"], env=ground.whole_environment, capture_output=True, check=False
    )
    assert done.stdout, done.stderr.decode()
    return Ran(done.returncode, orjson.loads(done.stdout))


def retrain(ground: Ground, *more: str) -> Ran:
    options = ["--held-back-days", str(HELD_BACK_DAYS)]
    options += ["--least-applications", str(LEAST_APPLICATIONS), "--least-of-a-label", "20"]
    return run(ground, "retrain", str(ground.directory / "models"), *options, *more)


def in_use(ground: Ground) -> list[str]:
    return [one["version"] for one in run(ground, "models", "list").said if one["in_use"]]


def parts_of(log: Path, directory: Path, moments: list[int]) -> Iterator[Path]:
    """Yield the log in parts, of which each but the first begins at a moment (ms)."""
    numbers = [0, *moments]
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    for number, (start, end) in enumerate(zip(numbers, [*moments, 2**62], strict=True)):
        part = directory / f"part-{number}.jsonl"
        within = [line for line in lines if start <= line.get("applied_at", line.get("engaged_at")) < end]
        part.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in within))
        yield part


class Asked:
    """Asks the service for the same scores, again and again, in a thread, and keeps all answers."""

    def __init__(self, client: httpx.Client, log: Path) -> None:
        applications = [
            line for line in map(orjson.loads, log.read_bytes().splitlines()) if line["type"] == "application"
        ]
        members = {line["member_id"]: line["member_features"] for line in applications}
        jobs = {line["job_id"]: line["job_features"] for line in applications}
        for features in (members, jobs):
            features[_NOBODY] = [0.5 - number for number, _ in enumerate(next(iter(features.values())))]
        random = np.random.default_rng(0)
        pairs = [
            (line["member_id"], line["job_id"]) for line in random.choice(np.array(applications), 20, replace=False)
        ]
        self.pairs = [*dict.fromkeys([*pairs, (_NOBODY, _NOBODY), (pairs[0][0], _NOBODY), (_NOBODY, pairs[0][1])])]
        self.members = {name: members[name] for name, _ in self.pairs}
        self.jobs = {name: jobs[name] for _, name in self.pairs}
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._body = {
            "feature_schema": applications[0]["feature_schema"],
            "members": [{"member_id": name, "features": features} for name, features in self.members.items()],
            "jobs": [{"job_id": name, "features": features} for name, features in self.jobs.items()],
            "pairs": [{"member_id": member, "job_id": job} for member, job in self.pairs],
        }
        self._client = asker(client)
        self._stop = threading.Event()

    @contextmanager
    def throughout(self) -> Iterator[None]:
        """Ask while the context is entered."""
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            self._client.close()

    def until(self, version: str) -> None:
        """Return when the newest answer is by a model."""
        while not self.answers or self.answers[-1]["model_version"] != version:
            assert self.failures[:1] == []
            time.sleep(0.05)

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._client.post("/v1/scores/batch", json=self._body, timeout=60)
                if answer.status_code == 200:
                    self.answers.append(answer.json())
                else:
                    self.failures.append(answer.text)
            except httpx.TransportError as error:
                self.failures.append(repr(error))
            # The processor is also needed by those that are asked about.
            self._stop.wait(0.25)


def published_vectors(ground: Ground) -> dict[tuple[str, str], dict[int, Floats]]:
    """Return every entity's published coefficients, by version."""
    records = asyncio.run(ground.read(ground.settings.topics.coefficients))
    vectors: dict[tuple[str, str], dict[int, Floats]] = defaultdict(dict)
    for delta in (delta_of(record.value) for partition in records.values() for record in partition):
        held = vectors[delta.entity_kind, delta.entity_id]
        before = held[delta.base_version] if delta.base_version else np.zeros(len(delta.change))
        held[delta.version] = before + np.array(delta.change)
    return vectors


def check(asked: Asked, models: dict[str, GlobalModel], vectors: dict[tuple[str, str], dict[int, Floats]]) -> None:
    """Check every score of every answer, to the last bit, against the model and the coefficients that it names."""
    plain = Standardisation(20.0)
    members = np.array([asked.members[member] for member, _ in asked.pairs])
    jobs = np.array([asked.jobs[job] for _, job in asked.pairs])
    by_all = {version: model.score(members, jobs).tolist() for version, model in models.items()}
    newest: dict[tuple[str, str], int] = defaultdict(int)

    def effect(kind: str, name: str, version: int, other: list[float]) -> float:
        # Nothing that was served is taken back.
        assert version >= newest[kind, name]
        newest[kind, name] = version
        if version == 0:
            return 0.0
        vector = vectors[kind, name][version]
        return float(published_log_odds(vector[np.newaxis], plain.apply(np.array([other])))[0])

    for answer in asked.answers:
        assert answer["personalised"]
        assert len(answer["scores"]) == len(asked.pairs)
        for (member, job), score, base in zip(
            asked.pairs, answer["scores"], by_all[answer["model_version"]], strict=True
        ):
            assert (score["member_id"], score["job_id"]) == (member, job)
            by_member = effect("member", member, answer["members"][member]["version"], asked.jobs[job])
            by_job = effect("job", job, answer["jobs"][job]["version"], asked.members[member])
            assert score["global_log_odds"] == base
            assert (score["member_log_odds"], score["job_log_odds"]) == (by_member, by_job)
            assert score["log_odds"] == base + by_member + by_job
    assert newest["member", _NOBODY] == newest["job", _NOBODY] == 0
    assert sum(version > 0 for version in newest.values()) > 10


def verdicts(ground: Ground) -> list[str]:
    """Return what the reports say."""
    reports = (ground.directory / "models" / "reports").glob("*.json")
    return sorted(json.loads(path.read_text())["verdict"] for path in reports)


def models_of_labels(ground: Ground) -> set[tuple[str, int]]:
    """Return which models labels name, with their numbers."""
    records = asyncio.run(ground.read(ground.settings.topics.labels))
    labels = [orjson.loads(record.value) for partition in records.values() for record in partition]
    return {(label["model_version"], label["model_number"]) for label in labels}


def test_scores_are_right_throughout_while_one_is_promoted_one_refused_and_one_rolled_back(
    ground: Ground, retraining_ground: RetrainingGround, tmp_path: Path
) -> None:
    log = retraining_ground.log
    end = retraining_ground.last_applied_at
    first_part, *later = parts_of(log, tmp_path, [end - 10 * DAY, end - 6 * DAY, end - 3 * DAY, end - DAY])

    def learn(part: Path) -> None:
        ground.replay(part, tmp_path / part.stem)

    def taken_up(version: str, number: int) -> None:
        """Return when service and worker use a model."""
        asked.until(version)
        while f"model {version}, number {number}, is taken up" not in worker_log.read_text():
            time.sleep(0.05)

    worker_log = ground.directory / "worker-0.log"
    with ground.worker(), service(ground) as client:
        learn(first_part)
        asked = Asked(client, log)
        while not ready(client):
            time.sleep(0.05)
        with asked.throughout():
            asked.until("none")
            promoted = retrain(ground)
            assert (promoted.code, promoted.said["verdict"], promoted.said["incumbent"]) == (0, "promoted", "none")
            first = promoted.said["candidate"]
            taken_up(first, 1)
            learn(later[0])

            # What the candidate is trained on says the opposite of what was so.
            assert run(ground, "labels", "export", str(tmp_path / "labels")).code == 0
            labels = list(exported_labels(tmp_path / "labels"))
            since = retraining_ground.held_back_since - 6 * DAY
            bad = write_export(poisoned(labels, since), tmp_path / "poisoned", ground.settings.topics.labels)
            refused = retrain(ground, "--labels", str(bad), "--global-after-days", "0")
            assert (refused.code, refused.said["verdict"], refused.said["number"]) == (REFUSED, "refused", None)
            assert refused.said["judgement"]["improvement_high"] < 0
            assert "the log-loss is lower by -" in refused.said["reason"]
            assert in_use(ground) == [first]
            learn(later[1])

            # A gate that lets anything through, and somebody who notices.
            mistaken = retrain(ground, "--margin", "-1", "--global-after-days", "0")
            second = mistaken.said["candidate"]
            assert (mistaken.code, mistaken.said["incumbent"]) == (0, first)
            taken_up(second, 2)
            learn(later[2])
            back = run(ground, "models", "rollback")
            assert (back.said["version"], back.said["withdraws"], back.said["number"]) == (first, second, 3)
            taken_up(first, 3)
            learn(later[3])

    assert asked.failures == []
    assert [version for version, _ in groupby(answer["model_version"] for answer in asked.answers)] == [
        "none",
        first,
        second,
        first,
    ]
    bundles = {version: load_bundle(ground.directory / "models" / version) for version in (first, second)}
    models: dict[str, GlobalModel] = {version: bundle.global_model for version, bundle in bundles.items()}
    check(asked, {"none": BaseRate(BASE_RATE), **models}, published_vectors(ground))
    assert verdicts(ground) == ["promoted", "promoted", "refused"]
    # Every label names the model by which it was made, and there are some of each.
    assert models_of_labels(ground) == {("none", 0), (first, 1), (second, 2), (first, 3)}


def test_killed_after_any_step_nothing_is_half_done(
    ground: Ground, retraining_ground: RetrainingGround, tmp_path: Path
) -> None:
    labels = write_export(retraining_ground.labels, tmp_path / "labels", ground.settings.topics.labels)
    program = [sys.executable, str(Path(__file__).with_name("killed_retraining.py"))]
    arguments = [str(ground.directory / "models"), str(labels), str(HELD_BACK_DAYS), str(LEAST_APPLICATIONS)]
    for step in ("kept", "tried", "reported"):
        killed = subprocess.run([*program, *arguments, step], env=ground.whole_environment, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert in_use(ground) == []
    killed = subprocess.run([*program, *arguments, "published"], env=ground.whole_environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    [version] = in_use(ground)
    assert load_bundle(ground.directory / "models" / version).version == version
    again = retrain(ground, "--labels", str(labels))
    assert (again.code, again.said["incumbent"]) == (REFUSED, version)
    assert in_use(ground) == [version]
