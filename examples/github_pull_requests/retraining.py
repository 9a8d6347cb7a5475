"""Retrain three times along the log, as `stream-qa retrain` does, and print what its gate said.

    python examples/github_pull_requests/retraining.py pull_requests.csv.gz

The labels are those that the stages make of the log, in this process and without a broker; what is published is kept in
a list. It takes some minutes, and needs the extra `parquet`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import msgspec

from stream_qa.bundle import load_bundle
from stream_qa.durations import HOUR
from stream_qa.events import Message, PublishedModel, wire
from stream_qa.labels import load_policy
from stream_qa.replay.in_process import InProcessReplay
from stream_qa.replay.log import chunks, read_log
from stream_qa.retraining.report import Outcome
from stream_qa.retraining.retrain import Options, Retraining
from stream_qa.retraining.shelf import Shelf
from stream_qa.settings import Settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.label_topic import LabelBatch, PlacedLabel
from stream_qa.streaming.publications import Publication, Publications
from stream_qa.training.label_files import LabelFiles, exported_labels, open_export
from stream_qa.training.label_log import LabelLog

HERE = Path(__file__).parent
STREAM_QA = Path(sys.executable).with_name("stream-qa")
POLICY = HERE / "policies" / "explicit.yaml"
FIRST = "2010-11-01"
DATES = ("2011-06-01", "2011-09-01", "2012-01-01")
HELD_BACK_DAYS = 28
_BATCH = 50_000


class _Labels:
    """Puts the labels among what the stages emit into an export."""

    def __init__(self, files: LabelFiles, topic: str) -> None:
        self._files = files
        self._topic = topic
        self._offsets: Iterator[int] = count()
        self._decode = msgspec.json.Decoder(wire.Label).decode
        self._waiting: list[PlacedLabel] = []

    def add(self, message: Message) -> None:
        """Take in one emitted message."""
        if message.topic == self._topic and message.value is not None:
            self._waiting.append(PlacedLabel(0, next(self._offsets), self._decode(message.value)))
            if len(self._waiting) == _BATCH:
                self.write()

    def write(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._files.add(LabelBatch(self._waiting, {0: self._waiting[-1].offset + 1}, 0, 0))
            self._waiting = []


def main() -> None:
    """Retrain three times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--keep", type=Path, help="a directory for what is made, to look at or to go on with")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place: Path = given.keep or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        settings = prepared(given.table, place)
        for outcome in retrainings(settings, place):
            print(outcome.to_markdown().decode())
            print({step: round(seconds) for step, seconds in outcome.seconds.items()})


def prepared(table: Path, place: Path) -> Settings:
    """Make the log, the first bundle and the labels, unless they are there; return a group's settings."""
    log, first, labels = place / "log.jsonl.gz", place / "first", place / "labels"
    if not log.exists():
        subprocess.run([sys.executable, str(HERE / "to_events.py"), str(table), str(log)], check=True)
    if not first.exists():
        options = ["--until", FIRST, "--policy", str(POLICY), "--out", str(first)]
        subprocess.run([str(STREAM_QA), "train", str(log), *options], check=True)
    settings = Settings(bundle=first, policy=POLICY)
    if not labels.exists():
        end = _milliseconds(DATES[-1])
        known = [event for event in read_log([log], settings.topics).events if event.time < end]
        with open_export(labels, settings.topics.labels) as files:
            sink = _Labels(files, settings.topics.labels)
            stages = InProcessReplay(build_pipeline(settings), 1, sink)
            for part in chunks(known, 1_000, HOUR):
                stages.run(part)
            sink.write()
    return settings


def retrainings(settings: Settings, place: Path) -> Iterator[Outcome]:
    """Yield what came of each retraining, each beginning with what the one before has left in use."""
    log = LabelLog(settings.topics, load_policy(settings.policy))
    for label in exported_labels(place / "labels"):
        log.add(label)
    published: list[Publication] = []

    def publish(model: PublishedModel) -> int:
        number = len(published) + 1
        published.append(Publication(number, model, load_bundle(Path(model.location), model.sha256), None))
        return number

    for date in DATES:
        options = Options(until=_milliseconds(date), held_back_days=HELD_BACK_DAYS)
        shelf = Shelf(place / "models")
        yield Retraining(settings, options, shelf, log, standing=lambda: Publications(published), publish=publish).run()


def _milliseconds(date: str) -> int:
    return round(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() * 1000)


if __name__ == "__main__":
    main()
