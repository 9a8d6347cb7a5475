"""Record what a version leaves on a broker, for the test that later versions go on from it.

    python tools/record_upgrade.py 0.1.0
    python tools/record_upgrade.py format-2 --checkout ../older

The first half of a small log goes through a worker on a broker of its own; both are stopped in order; the broker's
data, changelogs and all, become ``tests/data/upgrade/NAME.tar.xz``. Everything is done by the commands of the version,
so any checkout will do whose dependencies are installed here.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stream_qa.broker import DevelopmentBroker
from stream_qa.broker.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY / "tests" / "data" / "upgrade"
#: What a broker needs to go on with its topics, in its directory.
KAFKA_DATA = "kafka-data"
_STOP_SECONDS = 60


def main() -> None:
    """Record what a checkout leaves behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the recording, such as the version")
    parser.add_argument("--checkout", type=Path, default=REPOSITORY, help="whose code writes it")
    arguments = parser.parse_args()
    checkout = arguments.checkout.resolve()
    with tempfile.TemporaryDirectory() as directory:
        broker = DevelopmentBroker(Path(directory) / "broker", free_port(), report=print)
        broker.up()
        try:
            # Not from here: Python finds modules in the directory where it is started first of all.
            os.chdir(directory)
            environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith("STREAM_QA_")},
                "PYTHONPATH": str(checkout),
                "STREAM_QA_BROKER": broker.bootstrap,
                "STREAM_QA_DATA_DIRECTORY": f"{directory}/state",
                "STREAM_QA_WEB_ENABLED": "false",
            }
            record(environment)
        finally:
            broker.down()
        with tarfile.open(DATA / f"{arguments.name}.tar.xz", "w:xz") as archive:
            archive.add(broker.directory / KAFKA_DATA, KAFKA_DATA)


def record(environment: dict[str, str]) -> None:
    """Let a worker take the first half of the log."""
    stream_qa = [sys.executable, "-m", "stream_qa"]
    subprocess.run([*stream_qa, "topics", "apply"], env=environment, check=True)
    with worker(environment):
        subprocess.run([*stream_qa, "replay", str(DATA / "first.jsonl.gz"), "--kafka"], env=environment, check=True)


@contextlib.contextmanager
def worker(environment: dict[str, str]) -> Iterator[None]:
    """Run a worker, and end it in order."""
    running = subprocess.Popen([sys.executable, "-m", "faust", "-A", "stream_qa.app", "worker"], env=environment)
    try:
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(_STOP_SECONDS)


if __name__ == "__main__":
    main()
