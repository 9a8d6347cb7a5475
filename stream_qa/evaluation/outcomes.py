"""What became of applications in the end: whether a positive engagement came at all, as far as a log goes."""

from collections.abc import Iterable, Sequence

import numpy as np

from stream_qa.events import Decoder, Engagement, WireDecoder, wire
from stream_qa.labels import LabelPolicy
from stream_qa.learning.arrays import Floats
from stream_qa.replay.log import LogEvent


def eventual_outcomes(
    applications: Sequence[tuple[str, str]],
    events: Iterable[LogEvent],
    engagements: str,
    policy: LabelPolicy,
    max_message_bytes: int,
) -> Floats:
    """Return 1 for each of the applications that got a positive engagement whenever, else 0, shape ``(n,)``.

    Parameters
    ----------
    applications
        The ids of ``n`` applications, each with that of its job: as workers do, an engagement that names another job is
        refused.
    events
        The whole log.
    engagements
        The topic of engagements.
    policy
        Says which kinds are positive.
    max_message_bytes
        What is larger is no event.
    """
    decoder = WireDecoder(wire.Engagement, Decoder(Engagement, max_message_bytes))
    decoded = decoder.decode(event.value for event in events if event.topic == engagements)
    positive = {
        (one.application_id, one.job_id)
        for one in decoded
        if isinstance(one, wire.Engagement) and policy.value(one.kind) == 1
    }
    return np.array([float(both in positive) for both in applications])
