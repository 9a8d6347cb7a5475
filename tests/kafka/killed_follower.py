"""A follower that is killed at an exact moment: ``DIRECTORY BROKER PREFIX INSTANT SWAPS``."""

import asyncio
import os
import signal
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from stream_qa.coefficients import CoefficientStore, Place, Reach, Swap
from stream_qa.events import TopicNames
from stream_qa.following import Follower, RocksDBBackend, follower
from stream_qa.kafka_access import KafkaAccess


class KilledBackend(RocksDBBackend):
    """Kills its process before or after it has made so many swaps."""

    def __init__(self, directory: Path, instant: str, swaps: int) -> None:
        super().__init__(directory)
        self._instant = instant
        self._remaining = swaps

    def swap(self, swaps: Mapping[bytes, Swap], positions: Mapping[Place, Reach]) -> Collection[bytes]:
        self._remaining -= bool(swaps)
        if self._remaining == 0 and self._instant == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        refused = super().swap(swaps, positions)
        if self._remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return refused


if __name__ == "__main__":
    directory, broker, prefix, instant, swaps = sys.argv[1:]
    # Many small steps, so that there is something between them.
    follower._MOST_RECORDS = 20
    store = CoefficientStore(KilledBackend(Path(directory), instant, int(swaps)))
    asyncio.run(Follower(store, KafkaAccess((broker,)), TopicNames.with_prefix(prefix)).run())
