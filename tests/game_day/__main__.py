"""``make game-day``: plays the incidents and prints what the operator sees; ends with 0 when all came as expected."""

import argparse
import logging
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ports import free_port

from game_day import inputs, surroundings
from stream_qa.broker import DevelopmentBroker

INCIDENTS: dict[str, Callable[[DevelopmentBroker, Path], None]] = {
    "poisonous-record": inputs.poisonous_record,
    "lag": surroundings.lag,
    "broker-loss": surroundings.broker_loss,
    "fenced-worker": surroundings.fenced_worker,
    "full-disk": surroundings.full_disk,
    "wrong-bundle": inputs.wrong_bundle,
    "partition-mismatch": inputs.partition_mismatch,
    "expired-certificate": surroundings.expired_certificate,
    "future-clock": inputs.future_clock,
    "redis-loss": surroundings.redis_loss,
}
"""Every incident by its name, in the order of the page."""


def main() -> int:
    """Play them; return the exit code."""
    parser = argparse.ArgumentParser(prog="make game-day", description=__doc__)
    parser.add_argument("incidents", nargs="*", choices=[[], *INCIDENTS], help="only these")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, stream_qa {version('stream-qa')}, faust {version('faust-streaming')}, "
        f"aiokafka {version('aiokafka')}, Python {platform.python_version()}"
    )
    directory = Path(tempfile.mkdtemp(prefix="game-day-"))
    broker = DevelopmentBroker(directory / "broker", free_port())
    failed = []
    broker.up()
    try:
        for name in options.incidents or INCIDENTS:
            print(f"\n{name}\n", flush=True)
            place = directory / name
            place.mkdir()
            began = time.monotonic()
            try:
                INCIDENTS[name](broker, place)
            except Exception:  # noqa: BLE001 # the others are still worth playing
                traceback.print_exc()
                failed.append(name)
            print(f"\n    ({name}: {time.monotonic() - began:.0f} s)", flush=True)
    finally:
        broker.down()
    if failed:
        print(f"not as it should be: {', '.join(failed)}; logs are in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
