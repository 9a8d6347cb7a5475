"""A retraining that is killed after a step: ``DIRECTORY LABELS HELD_BACK_DAYS LEAST_APPLICATIONS STEP``."""

import os
import signal
import sys
from pathlib import Path

from stream_qa.cli.retrain import once
from stream_qa.retraining.gate import Gate
from stream_qa.retraining.retrain import Options

if __name__ == "__main__":
    directory, labels, held_back_days, least_applications, last_step = sys.argv[1:]
    options = Options(held_back_days=int(held_back_days), gate=Gate(least_applications=int(least_applications)))

    def told(step: str) -> None:
        """Kill this process where it is time."""
        if step == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    once(Path(directory), Path(labels), options, told)
