"""A new generation, and three retrainings, over the pull requests of the example: through Kafka, with everything on.

    PYTHONPATH=tests:tests/kafka python benchmarks/whole_log.py rebuild|retrain pull_requests.csv.gz [--events N]

What the tests of the same do with a small simulated marketplace, with the same checks: `rebuild` lets a second
generation catch up while events come, switches a running service to it and back, and compares its vectors, bit for bit,
with the generation's log folded again; `retrain` promotes a candidate, refuses a poisoned one and rolls one back, while
a client's every score is checked.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ground import PROGRAM, Ground, new_ground
from measured_broker import measured_broker
from retraining_ground import poisoned, write_export
from service_process import POLL_SECONDS, ready, service
from test_rebuild import (
    asking,
    begin,
    check_generation,
    held,
    learned_pairs,
    of_generation,
    rebuild,
    rebuilding,
    until,
)
from test_retraining_live import Asked, Ran, check, in_use, published_vectors, run

from stream_qa.bundle import Bundle, load_bundle
from stream_qa.durations import DAY
from stream_qa.learning import BaseRate, GlobalModel
from stream_qa.streaming.garbage import collect_rarely
from stream_qa.training.label_files import exported_labels

EXAMPLE = Path(__file__).parents[1] / "examples" / "github_pull_requests"
UNTIL = ("2012-04-01", "2012-10-01")
#: Events that come while the new generation catches up, and while servers change over.
LIVE = 20_000
STEP_HOURS = "168"
BASE_RATE = 0.7


def main() -> None:
    """Run one of the two."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["rebuild", "retrain"])
    arguments.add_argument("table", type=Path)
    arguments.add_argument("--events", type=int, help="only so many of the first")
    options = arguments.parse_args()
    collect_rarely()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = directory / "log.jsonl"
        subprocess.run([sys.executable, str(EXAMPLE / "to_events.py"), str(options.table), str(log)], check=True)
        lines = log.read_bytes().splitlines(keepends=True)[: options.events]
        log.write_bytes(b"".join(lines))
        with measured_broker(directory / "broker") as broker:
            (rebuild_beside if options.what == "rebuild" else retrain_thrice)(broker.bootstrap, directory, log, lines)


class Watch:
    """Says how long everything took."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def say(self, what: str) -> None:
        """Print what is done, and the seconds since the one before."""
        now = time.monotonic()
        print(f"{now - self._at:8.1f} s  {what}", flush=True)
        self._at = now


def part(directory: Path, name: str, lines: list[bytes]) -> Path:
    """Write a part of the log."""
    path = directory / f"{name}.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def trained(log: Path, directory: Path, until_day: str) -> Bundle:
    """Train a bundle on the log until a day."""
    out = directory / f"bundle-{until_day}"
    subprocess.run([*PROGRAM, "train", str(log), "--until", until_day, "--out", str(out)], check=True)
    return load_bundle(out)


def rebuild_beside(broker: str, directory: Path, log: Path, lines: list[bytes]) -> None:
    """Begin a generation beside one that serves, while events come; switch, undo, switch; compare."""
    watch = Watch()
    first, second = (trained(log, directory, day) for day in UNTIL)
    watch.say("two bundles trained")
    # Nobody is dropped or held back, so that a service holds everybody of whom the log says something.
    ground: Ground = new_ground(
        broker,
        directory,
        bundle=first.directory,
        quiet_seconds=0,
        replay_step_hours=float(STEP_HOURS),
        idle_days=0,
        guard=False,
    )
    old, new = of_generation(ground, 1, first), of_generation(ground, 2, second)
    before = part(directory, "before", lines[:-LIVE])
    caught_up, after = (
        part(directory, "caught-up", lines[-LIVE : -LIVE // 2]),
        part(directory, "after", lines[-LIVE // 2 :]),
    )
    versions = {1: first.version, 2: second.version}
    with ground.worker("worker"), service(ground, STREAM_QA_SERVE_LOOK_UP_SECONDS="60") as client:
        ground.replay(before, directory / "emitted-before")
        watch.say(f"generation 1 has learned {len(lines) - LIVE} events")
        while not ready(client):
            time.sleep(POLL_SECONDS)
        with asking(client, learned_pairs(ground, old), versions) as answered, ThreadPoolExecutor(1) as threads:
            watch.say("a client asks")
            live = threads.submit(ground.replay, caught_up, directory / "emitted-caught-up")
            told = begin(ground, second)
            watch.say(f"generation 2 has caught up: {told}")
            live.result()
            with rebuilding(ground, second):
                replayed = threads.submit(ground.replay, after, directory / "emitted-after")
                rebuild(ground, "switch", "--anyway", "--patience", "300")
                until(answered, [1, 2])
                watch.say("the service has changed over")
                replayed.result()
                rebuild(ground, "undo")
                until(answered, [1, 2, 1])
                watch.say("and back")
                rebuild(ground, "switch", "--generation", "2", "--patience", "300")
                until(answered, [1, 2, 1, 2])
                watch.say("and again")
        learned = check_generation(ground, new, log)
        watch.say(f"the labels of generation 2 are those of the log, its {len(learned)} vectors those of its log")
        while (served := held(client, learned)) != learned:
            # It may still lack what came last, and is never beyond it.
            if any(served[key][0] > version for key, (version, _) in learned.items()):
                sys.exit("the service is beyond the log")
        watch.say("the service holds all of them, bit for bit")
    check_generation(ground, old, log)
    watch.say("generation 1, too, is what its log says")
    print(json.dumps(rebuild(ground, "compare", "--generation", "2", "--with", "1", code=None), indent=2))


def retrain_thrice(broker: str, directory: Path, log: Path, lines: list[bytes]) -> None:
    """Retrain three times, while a client asks: one is promoted, a poisoned one refused, one rolled back."""
    watch = Watch()
    # As above: a service may not hold less of anybody than it did.
    ground = new_ground(
        broker,
        directory,
        base_rate=BASE_RATE,
        replay_step_hours=float(STEP_HOURS),
        idle_days=0,
        guard=False,
    )
    cuts = [round(share * len(lines)) for share in (0.7, 0.8, 0.9, 1)]
    parts = [part(directory, f"part-{end}", lines[start:end]) for start, end in zip([0, *cuts[:-1]], cuts, strict=True)]

    def learn(path: Path) -> None:
        ground.replay(path, directory / path.stem)

    def retrain(*more: str) -> Ran:
        return run(ground, "retrain", str(ground.directory / "models"), "--held-back-days", "28", *more)

    with ground.worker(), service(ground, STREAM_QA_SERVE_LOOK_UP_SECONDS="60") as client:
        learn(parts[0])
        watch.say(f"{cuts[0]} events are learned")
        asked = Asked(client, log)
        while not ready(client):
            time.sleep(POLL_SECONDS)
        with asked.throughout():
            asked.until("none")
            promoted = retrain()
            watch.say(f"retrained: {promoted}")
            first = promoted.said["candidate"]
            asked.until(first)
            learn(parts[1])
            run(ground, "labels", "export", str(directory / "labels"))
            labels = list(exported_labels(directory / "labels"))
            since = max(label.applied_at for label in labels) - 90 * DAY
            bad = write_export(poisoned(labels, since), directory / "poisoned", ground.settings.topics.labels)
            refused = retrain("--labels", str(bad), "--global-after-days", "0")
            watch.say(f"retrained on poisoned labels: {refused}; in use: {in_use(ground)}")
            learn(parts[2])
            mistaken = retrain("--margin", "-1", "--global-after-days", "0")
            watch.say(f"retrained without a gate: {mistaken}")
            second = mistaken.said["candidate"]
            asked.until(second)
            back = run(ground, "models", "rollback")
            asked.until(first)
            watch.say(f"rolled back: {back}")
            learn(parts[3])
    bundles = {version: load_bundle(ground.directory / "models" / version) for version in (first, second)}
    models: dict[str, GlobalModel] = {version: bundle.global_model for version, bundle in bundles.items()}
    check(asked, {"none": BaseRate(BASE_RATE), **models}, published_vectors(ground))
    print(f"{len(asked.answers)} answers of {len(asked.pairs)} scores are right, {len(asked.failures)} failed")


if __name__ == "__main__":
    main()
