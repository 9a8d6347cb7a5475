"""How far a generation has come with the log, how fast it is, and when it will have caught up. Pure arithmetic."""

from collections import deque
from dataclasses import dataclass

from stream_qa.streaming.group_offsets import Look

#: Speed is that of the last minute: what the past was like says little about the future.
_SECONDS = 60.0


@dataclass(frozen=True)
class Progress:
    """Where a generation is."""

    processed: int
    """Records of the inputs."""
    of: int
    """How many there are by now."""
    waiting: int
    """Records between the stages that are not processed yet."""
    per_second: float | None
    """Records of the inputs; ``None`` at the first look."""
    seconds_left: float | None
    """Until it has caught up, at the speed of the last minute; ``None`` where it does not come nearer."""

    @property
    def share(self) -> float:
        """What is processed of the inputs, from 0 to 1."""
        return self.processed / self.of if self.of else 1.0


class Pace:
    """Makes progress of looks."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque()

    def progress(self, look: Look) -> Progress:
        """Return where a generation is, by a look and those of the minute before."""
        while self._looks and look.at - self._looks[0].at > _SECONDS:
            self._looks.popleft()
        self._looks.append(look)
        first, left = self._looks[0], look.end - look.done
        seconds = look.at - first.at
        per_second, seconds_left = None, None if left else 0.0
        if seconds > 0:
            per_second = (look.done - first.done) / seconds
            nearer = (first.end - first.done - left) / seconds
            if left and nearer > 0:
                seconds_left = left / nearer
        return Progress(look.done - look.beginning, look.end - look.beginning, look.waiting, per_second, seconds_left)
