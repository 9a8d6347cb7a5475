"""What silence says before the window closes: the article's rule.

When the other side answers an application, those that were sent earlier to the same job and are not answered become
provisional negatives. A job's applications are visited in the order in which they were sent, each once: up to where an
answered one was sent, everything has been visited. So the work does not grow with the applications that are open.
"""

import msgspec
from msgspec import Struct

from stream_qa.labels.event_time import NOT_BEGUN


class Activity(Struct, array_like=True):
    """What the other side has done on one job: a record of the label table."""

    answered: int = NOT_BEGUN
    """When the answered application that was sent last was sent (ms): all before it have been visited."""
    answered_at: int = NOT_BEGUN
    """When it was answered (ms)."""

    def pack(self) -> bytes:
        """Return the record."""
        return _encode(self)

    @staticmethod
    def unpack(record: bytes | None) -> "Activity":
        """Return what :meth:`pack` packed; none where there is none."""
        return Activity() if record is None else _decode(record)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Activity).decode
